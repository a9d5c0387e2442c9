/*
 * Adds the objects of a carried GeoJSON file (warped_NAME.geojson, also .gz and .zip) to the open image: ids, names,
 * classes, measurements, locks and parents as in the file.
 *
 * For QuPath 0.5 and newer: open the image that the objects were carried to, then Automate > Script editor > Run.
 * Written against QuPath's documented interface.
 */
import groovy.transform.Field
import qupath.lib.io.PathIO

@Field boolean lock = true  // annotations only: so that a slip of the mouse does not move what was carried

def hierarchy = getCurrentHierarchy()
if (hierarchy == null) {
    println "Open an image first"
    return
}
def file = promptForFile("geojson", "json", "gz", "zip")
if (file == null)
    return

def objects = PathIO.readObjects(file)
if (objects.isEmpty()) {
    println "No objects in ${file}"
    return
}
// Objects of one image have different ids: what was imported before is not added twice.
def known = hierarchy.getFlattenedObjectList(null).collect { it.getID() } as Set
def fresh = objects.findAll { !known.contains(it.getID()) }

def all = []
def collect
collect = { object ->
    all << object
    object.getChildObjects().each { collect(it) }
}
fresh.each { collect(it) }
if (lock)
    all.findAll { it.isAnnotation() }.each { it.setLocked(true) }

// Under the root, each with its own children: nothing is moved to another parent.
hierarchy.addObjects(fresh)
println "Added ${all.size()} objects from ${file.getName()}, left out ${objects.size() - fresh.size()} that are there already"

def server = getCurrentServer()
def beyond = all.findAll {
    def roi = it.getROI()
    roi != null && (roi.getBoundsX() < 0 || roi.getBoundsY() < 0
        || roi.getBoundsX() + roi.getBoundsWidth() > server.getWidth()
        || roi.getBoundsY() + roi.getBoundsHeight() > server.getHeight())
}
if (!beyond.isEmpty())
    println "${beyond.size()} of them reach beyond the image; is it the one that they were carried to?"
