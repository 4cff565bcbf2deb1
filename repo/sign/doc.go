// Package sign makes and verifies signatures of commits.
package sign

import _ "github.com/ProtonMail/go-crypto/openpgp"
