// Package dest writes images: to registries, directories and archives.
//
// [Write] takes any v1.Image, also one whose layers are made while they are read and whose digests are known only
// afterwards. Layers go to the destination side by side, a few at a time, each checked against the digest that the
// image gives for it; then the configuration, and last the manifest or the index, put in place in one step. So a
// failure leaves no half image visible. A blob that is there already is not written again.
//
// An archive is assembled from files in a hidden directory beside the target, which is replaced by a rename. Where a
// link leads to the target the link stays. What is not a regular file, such as a pipe or /dev/stdout, is written to
// as a stream, and so is Options.Stdout where the name is "-". The bytes of an archive depend on the image and its
// tag alone.
//
// Package access says how a registry is spoken to: HTTPS, certificates, credentials.
package dest
