// Package access says how registries are spoken to, for reading and for writing alike: credentials, certificates, and
// the rule about plain HTTP.
//
// The rule is: HTTPS with a valid certificate, and nothing else. No request goes over plain HTTP, whatever the
// registry's address is: not the first one, no redirect, no upload location and no token server. It fails with
// [ErrPlainHTTP] before anything is sent. There are two exceptions. With Options.InsecureSkipTLSVerify any
// certificate is accepted, and plain HTTP where HTTPS is not answered. And "insecure = true" in registries.conf says
// the same of the registry that it stands for, but not of other hosts that the registry refers to.
//
// Credentials are those of [Options], else of the file that Options.AuthFile or REGISTRY_AUTH_FILE names, else of
// usual files. Reading and writing look at different ones, see [ReadOrder] and [WriteOrder].
package access
