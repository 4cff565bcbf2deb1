// Package access holds the options for talking to a registry, for reading and for writing: credentials, certificates,
// and the rule about plain HTTP.
//
// The rule: HTTPS with a valid certificate, and nothing else. No request goes over plain HTTP, whatever the registry's
// address is. This covers the first request, redirects, upload locations and token servers. Such a request fails with
// [ErrPlainHTTP] before anything is sent. There are two exceptions. Options.InsecureSkipTLSVerify accepts any
// certificate, and plain HTTP if HTTPS is not answered. "insecure = true" in registries.conf does the same for that
// registry, but not for other hosts that the registry refers to.
//
// Credentials come from [Options], or else from the file that Options.AuthFile or REGISTRY_AUTH_FILE names, or else
// from the usual files. Reading and writing use different ones: see [ReadOrder] and [WriteOrder].
package access
