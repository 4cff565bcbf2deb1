// Package upload sends blobs and manifests to a registry. Blobs are sent in the way that the registry supports.
//
// A blob is usually sent in one PATCH request, while it is made, so that neither its size nor its digest need to be
// known. A registry, or a proxy before it, may refuse that. Then the blob is sent in another way:
//
//   - The request was too large (413), needs a Content-Length (411), or was cut off: the blob is sent in chunks. Each
//     chunk is kept in memory until the registry has it, so that it can be sent again, from the position that the
//     registry tells. A chunk that is too large is halved. OCI-Chunk-Min-Length is respected.
//   - The registry does not support PATCH, or not with chunks (400, 403, 404, 405, 415, 416, 501): the blob is sent in
//     one PUT request, or in one POST request if the registry refuses that too. Such a request names the digest before
//     the content. So a layer that is made while it is read is made twice: first to compute its digest, and then to
//     send it. This costs time, but neither memory nor disk space. A layer that the registry already has is then not
//     sent.
//
// What worked is used for all further blobs of the same [Uploader].
package upload
