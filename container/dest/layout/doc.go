// Package layout writes images into directories: OCI image layouts, and those of the transport "dir:".
//
// [Write] stores a whole image, [WriteLayers] only the blobs of layers. A blob that is there already is not written
// again. An image is visible once it is in the index, or its manifest is in place, and that changes in one step.
// Several processes may write into one directory at once. What a killed one left is removed by the next.
package layout
