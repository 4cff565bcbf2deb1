// Package access holds the options for talking to a registry, for reading and for writing: credentials, certificates,
// the rule about plain HTTP, and for how long a server may be silent.
//
// The rule: HTTPS with a valid certificate, and nothing else. No request goes over plain HTTP, whatever the registry's
// address is. This covers the first request, redirects, upload locations and token servers. Such a request fails with
// [ErrPlainHTTP] before anything is sent. There are two exceptions. Options.InsecureSkipTLSVerify accepts any
// certificate, and plain HTTP if HTTPS is not answered. "insecure = true" in registries.conf does the same for that
// registry, but not for other hosts that the registry refers to.
//
// Credentials come from [Options], or else from files. The order is the same for reading and for writing:
//
//  1. The file that Options.AuthFile names, and no other.
//  2. The file that REGISTRY_AUTH_FILE names, and no other.
//  3. The auth.json of ostree: for root the first that exists in /run/ostree, /etc/ostree and /usr/lib/ostree; for
//     other users in $XDG_RUNTIME_DIR/ostree and ~/.config/ostree.
//  4. The auth.json of skopeo and podman, in $XDG_RUNTIME_DIR/containers (or /run/containers/UID), then in
//     ~/.config/containers.
//  5. The config.json of docker, in $DOCKER_CONFIG or ~/.docker.
//
// The first file with credentials for the repository, its namespace or its registry is used. In a file, a helper
// program for the registry comes first, then entries, then a helper for all registries. A file of 3 to 5 that
// cannot be read, or whose helper program fails, is a warning.
//
// No request waits for ever. If no byte moves for [Options.Silence] while it is the server's turn, the request fails
// with a [*SilentError]. A transfer that is slow and moves takes as long as it takes.
package access
