package setup

import "github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"

func checkPolicy(data []byte) error { return jsonkeys.Check(data, nil) }
