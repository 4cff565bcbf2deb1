package component

import (
	"context"
)

// Rule is a rule of the user.
type Rule struct{}

// ParseRules reads a mapping file.
func ParseRules(data []byte) ([]Rule, error) { return nil, nil }

func (d *detection) rules(context.Context, Options) error     { return nil }
func (d *detection) xattrs(context.Context, Options) error    { return nil }
func (d *detection) languages(context.Context, Options) error { return nil }
