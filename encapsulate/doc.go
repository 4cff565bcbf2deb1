// Package encapsulate makes an OCI image from an OSTree commit.
//
// [Build] returns an [Image], which is a [v1.Image]: it can be written with go-containerregistry to a registry or a
// directory. Layers are generated while they are read, and are not stored. The digests and the size of a layer, and
// with them the manifest and the configuration, are known only after the layer was read to its end. Until then the
// methods return [stream.ErrNotComputed]. Reading a layer again gives the same bytes.
//
// Layers, labels, history and configuration equal those of upstream's ostree-ext for the same commit, plan and options.
package encapsulate
