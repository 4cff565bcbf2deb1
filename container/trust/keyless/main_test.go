package keyless_test

import (
	"os"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

func TestMain(m *testing.M) { os.Exit(testhome.Tests{M: m}.Run()) }
