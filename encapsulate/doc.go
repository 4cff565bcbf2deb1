// Package encapsulate makes an OCI image of an OSTree commit.
//
// [Build] returns an [Image], which is a [v1.Image]: it can be written with go-containerregistry to a registry or a
// directory. Its layers are made while they are read and held nowhere. What is known of a layer only when all of it went
// through (its digests and size, and so the manifest and the configuration) is there after that; before, the methods
// return [stream.ErrNotComputed]. Reading a layer again makes the same bytes again.
//
// Layers, labels, history and configuration equal those of upstream's ostree-ext for the same commit, plan and options.
package encapsulate
