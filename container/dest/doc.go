// Package dest writes images: to registries, directories and archives.
//
// [Write] takes any v1.Image, including images whose layers are made while they are read and whose digests are known
// only afterwards. Layers are written first, a few at a time, and each is checked against its digest. Then comes the
// configuration, and last the manifest or the index, which is put in place in one step. A failure leaves no partial
// image visible. A blob that exists already is not written again.
//
// An archive is assembled from files in a hidden directory beside the target, and replaces the target by a rename. If
// the target is a symbolic link, the link stays and the file that it points to is replaced. A target that is not a
// regular file, such as a pipe or /dev/stdout, is written to as a stream; so is Options.Stdout if the name is "-". The
// bytes of an archive depend only on the image and its tag.
//
// Package upload sends blobs to registries in the way that each registry supports.
//
// Package access has the options for registries: HTTPS, certificates, credentials.
package dest
