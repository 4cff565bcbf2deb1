// Package bundle finds the Sigstore bundles of an image in a registry and verifies those made with a key.
package bundle
