/*
 * Writes all objects of the open image to GeoJSON, parents with their children, for
 *     warpzoo apply out/PAIR --geojson THE_FILE
 *
 * For QuPath 0.5 and newer: Automate > Script editor, then Run. In a project the file goes into its folder
 * "annotations", else into the home folder. Written against QuPath's documented interface.
 */
import groovy.transform.Field
import qupath.lib.io.FeatureCollection
import qupath.lib.io.GsonTools

import java.nio.charset.StandardCharsets
import java.util.zip.GZIPOutputStream

@Field boolean gzip = false  // true: NAME.geojson.gz, much smaller when there are many cells

def imageData = getCurrentImageData()
if (imageData == null) {
    println "Open an image first"
    return
}
def name = GeneralTools.stripExtension(getCurrentImageName()).replaceAll(/[\\\/:*?"<>|]/, "_")
def suffix = gzip ? ".geojson.gz" : ".geojson"

def folder = System.getProperty("user.home")
if (getProject() != null) {
    folder = buildPathInProject("annotations")
    mkdirs(folder)
}
def file = new File(folder, name + suffix)

// Children of the root only: each brings its own children, so that parents are not guessed again later.
// QuPath's menu command writes a flat list instead; that is read as well.
def objects = imageData.getHierarchy().getRootObject().getChildObjects()
def stream = new FileOutputStream(file)
def target = gzip ? new GZIPOutputStream(stream) : stream
new OutputStreamWriter(new BufferedOutputStream(target), StandardCharsets.UTF_8).withCloseable { writer ->
    GsonTools.getInstance().toJson(FeatureCollection.wrap(objects, true), writer)
}
println "Wrote ${imageData.getHierarchy().getFlattenedObjectList(null).size() - 1} objects to ${file}"
