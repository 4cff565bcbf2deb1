// Package layout writes images into directories: OCI image layouts, and layouts of the transport "dir:".
//
// [Write] stores a whole image, [WriteLayers] only the blobs of layers. A blob that exists already is not written
// again. An image becomes visible in one step, when it is entered into the index or its manifest is put in place.
// Several processes may write into one directory at once. Temporary files of a killed process are removed by the next
// one.
package layout
