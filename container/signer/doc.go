// Package signer signs images in registries.
package signer

import _ "github.com/sigstore/sigstore/pkg/cryptoutils"
