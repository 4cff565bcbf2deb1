// Package setup plans the files with which a host asks for the signatures of images: the keys, policy.json
// (containers-policy.json(5)), registries.d (containers-registries.d(5)) and our own trust.d. They only work together,
// so they are planned together, shown, and written together.
//
// [Make] reads what is there and returns a [Plan], which changes nothing. [Plan.Write] writes it. What the existing
// files say about other images stays as it is, to the byte. What they say about the same images is only changed if
// [Options.Replace] is set.
//
// All files are opened below the root of the host ([os.Root]), which may be a directory in which an image is built.
// Symbolic links count as they will on the host: absolute ones begin at the root, and none leads out of it.
package setup
