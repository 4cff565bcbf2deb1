//go:build containers_image_openpgp

package policy

import _ "go.podman.io/image/v5/signature"
