// Carries the annotations of the open (moving) image to another one through a WarpZoo server; docs/serving.md.
// Written against QuPath 0.5's API and not yet run in QuPath.
//
// The server must have both images in its studies folder, named as below without suffix. Afterwards open the fixed image
// and import the file that is named at the end (File > Import objects).

import com.google.gson.JsonParser
import java.net.URI
import java.net.URLEncoder
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import qupath.lib.io.GsonTools

def server = "http://127.0.0.1:8000"
def model = "histology_registration"
def fixed = "HE"                                  // id of the image that stays
def token = ""                                    // where the server asks for one
def moving = GeneralTools.stripExtension(new File(getCurrentServer().getURIs()[0].getPath()).getName())

def annotations = GsonTools.getInstance().toJsonTree(getAnnotationObjects())
def params = new com.google.gson.JsonObject()
params.addProperty("fixed", fixed)
params.add("annotations", annotations)

def encode = { text -> URLEncoder.encode(text, "UTF-8") }
def address = "${server}/infer/${encode(model)}?image=${encode(moving)}&output=json"
def request = HttpRequest.newBuilder(URI.create(address))
        .header("Content-Type", "application/x-www-form-urlencoded")
if (token)
    request.header("Authorization", "Bearer " + token)
request.POST(HttpRequest.BodyPublishers.ofString("params=" + encode(params.toString())))

def answer = HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString())
def body = JsonParser.parseString(answer.body()).getAsJsonObject()
if (answer.statusCode() != 200) {
    println "error: " + body.get("detail")
    return
}
def result = body.getAsJsonObject("result")
println "${moving} to ${fixed}: ${result.get('status').getAsString()} ${result.get('reason').getAsString()}"
if (result.has("annotations")) {
    def file = new File(PROJECT_BASE_DIR ?: System.getProperty("user.home"), "${moving}_to_${fixed}.geojson")
    file.setText(result.get("annotations").toString(), "UTF-8")
    println "annotations in " + file
}
