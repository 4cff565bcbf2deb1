// Package buildroot is for programs that run in a container whose root is made from an image of an OSTree commit, such
// as a step of a build. [Detect] says whether that is so. [Clean] removes what has no place in an image.
package buildroot
