package statement_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/trust/statement"
)

const image = digest.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

func TestAStatementSignsTheImageThatItNamesAndNoOther(t *testing.T) {
	t.Parallel()
	const other = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"
	made := string(statement.New(image))
	want := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + image.Encoded() +
		`"},"annotations":{}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`
	if made != want {
		t.Errorf("got %s, want %s", made, want)
	}
	two := strings.Replace(made, `[{`, `[{"digest":{"sha256":"`+other+`"}},{`, 1)
	none := strings.Replace(made, `{"digest":{"sha256":"`+image.Encoded()+`"},"annotations":{}}`, "", 1)
	malformed := errors.New("malformed")
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"as it is made":          {made, nil},
		"the second subject":     {two, nil},
		"another image":          {strings.Replace(made, image.Encoded(), other, 1), statement.ErrOtherSubject},
		"nothing":                {none, statement.ErrOtherSubject},
		"an attestation":         {strings.Replace(made, "cosign/sign/v1", "cosign/note/v1", 1), statement.ErrAttestation},
		"another kind":           {strings.Replace(made, "Statement/v1", "Statement/v2", 1), statement.ErrAttestation},
		"a key in capitals":      {strings.Replace(made, "_type", "_Type", 1), malformed},
		"a key that is unknown":  {strings.Replace(made, `"subject"`, `"more":1,"subject"`, 1), malformed},
		"a key that comes twice": {strings.Replace(made, `"subject"`, `"subject":[],"subject"`, 1), malformed},
		"two documents":          {made + made, malformed},
	} {
		err := statement.Check([]byte(c.text), image)
		known := errors.Is(err, statement.ErrOtherSubject) || errors.Is(err, statement.ErrAttestation)
		if (err == nil) != (c.want == nil) || c.want == malformed && known || known && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}
