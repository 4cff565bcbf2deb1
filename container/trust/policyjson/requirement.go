package policyjson

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The types of a [Requirement].
const (
	AcceptAnything  = "insecureAcceptAnything"
	Reject          = "reject"
	SignedBy        = "signedBy"
	SigstoreSigned  = "sigstoreSigned"
	SignedBaseLayer = "signedBaseLayer"
)

// A Requirement is one entry of a list in a policy. Its fields are what the policy says; containers-policy.json(5) says
// what that means.
type Requirement struct {
	// Type is one of the constants.
	Type string
	// KeyType is "GPGKeys" for signedBy; there are others, which nobody implements.
	KeyType string
	// KeyPaths are the files that keyPath or keyPaths name, and KeyDatas the keys of keyData or keyDatas. One key is
	// enough, several are for rotation.
	KeyPaths []string
	KeyDatas [][]byte
	// Fulcio and PKI demand a certificate instead of a key.
	Fulcio *Fulcio
	PKI    *PKI
	// RekorKeyPaths and RekorKeyDatas are keys of transparency logs, one of which must have recorded the signature.
	RekorKeyPaths []string
	RekorKeyDatas [][]byte
	// Identity is the rule about the reference that is signed.
	Identity Identity
	// Raw is the JSON text.
	Raw json.RawMessage
}

// Fulcio is a certificate authority that certifies identities.
type Fulcio struct {
	CAPath string
	CAData []byte
	// Issuer is who vouched for the identity, and Subject is its mail address.
	Issuer, Subject string
}

// PKI is a certificate authority of one's own. At least one of Email and Hostname is set.
type PKI struct {
	RootsPath, IntermediatesPath string
	RootsData, IntermediatesData []byte
	Email, Hostname              string
}

// Identity says which reference a signature must be for.
type Identity struct {
	// Type is matchRepoDigestOrExact, also if the policy has none, matchExact, matchRepository, exactReference,
	// exactRepository or remapIdentity.
	Type string
	// Reference is what exactReference or exactRepository names.
	Reference string
	// Prefix is replaced by SignedPrefix for remapIdentity.
	Prefix, SignedPrefix string
}

// matchDefault is the identity rule of a requirement that has none.
const matchDefault = "matchRepoDigestOrExact"

// String returns the type with what it names.
func (i Identity) String() string {
	switch {
	case i.Reference != "":
		return i.Type + " " + i.Reference
	case i.Prefix != "":
		return i.Type + " " + i.Prefix + " to " + i.SignedPrefix
	}
	return i.Type
}

// String describes the requirement in one line.
func (q Requirement) String() string {
	switch {
	case q.Type != SignedBy && q.Type != SigstoreSigned:
		return q.Type
	case q.Fulcio != nil:
		return fmt.Sprintf("%s by %s, for whom %s vouches (%s)", q.Type, q.Fulcio.Subject, q.Fulcio.Issuer, q.Identity)
	case q.PKI != nil:
		return fmt.Sprintf("%s by %s, with a certificate of %s (%s)", q.Type, q.PKI.Subject(),
			OrData([]string{q.PKI.RootsPath}), q.Identity)
	default:
		return fmt.Sprintf("%s with %s (%s)", q.Type, OrData(q.KeyPaths), q.Identity)
	}
}

// Subject returns whom the certificates name.
func (p *PKI) Subject() string {
	return strings.Join(slices.DeleteFunc([]string{p.Email, p.Hostname}, func(s string) bool { return s == "" }), ", ")
}

// Files returns the files with keys and certificates that a requirement names.
func (q Requirement) Files() []string {
	files := slices.Concat(q.KeyPaths, q.RekorKeyPaths)
	if q.Fulcio != nil {
		files = append(files, q.Fulcio.CAPath)
	}
	if q.PKI != nil {
		files = append(files, q.PKI.RootsPath, q.PKI.IntermediatesPath)
	}
	return slices.DeleteFunc(files, func(s string) bool { return s == "" })
}

// OrData returns the names of files, or says that the policy itself has the data.
func OrData(paths []string) string {
	if len(paths) == 0 || paths[0] == "" {
		return "what the policy itself has"
	}
	return strings.Join(paths, " or ")
}

func parseRequirements(v value) ([]Requirement, error) {
	elements, err := v.elements()
	if err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return nil, v.errorf("an empty list would say nothing: use %q to refuse images", Reject)
	}
	list := make([]Requirement, len(elements))
	for i, e := range elements {
		if list[i], err = parseRequirement(e); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func parseRequirement(v value) (Requirement, error) {
	members, err := v.object()
	if err != nil {
		return Requirement{}, err
	}
	q := Requirement{Raw: v.raw}
	if err := members["type"].decode(&q.Type); err != nil {
		return q, err
	}
	switch q.Type {
	case AcceptAnything, Reject:
		_, err = v.fields("type")
	case SignedBy:
		err = q.parseSignedBy(v)
	case SigstoreSigned:
		err = q.parseSigstoreSigned(v)
	case SignedBaseLayer:
		if members, err = v.fields("type", "baseLayerIdentity"); err == nil {
			q.Identity, err = parseIdentity(v, members["baseLayerIdentity"])
		}
		if err == nil && members["baseLayerIdentity"].doc == nil {
			err = v.errorf("%q is missing", "baseLayerIdentity")
		}
	case "":
		err = v.errorf("%q is missing", "type")
	default:
		err = members["type"].errorf("there is no requirement of type %.80q", q.Type)
	}
	return q, err
}

func (q *Requirement) parseSignedBy(v value) error {
	m, err := v.fields("type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity")
	if err != nil {
		return err
	}
	if err := m["keyType"].decode(&q.KeyType); err != nil {
		return err
	}
	switch q.KeyType {
	case "GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs":
	default:
		return v.errorf("%q is %.80q, and has to be %q", "keyType", q.KeyType, "GPGKeys")
	}
	var n int
	if q.KeyPaths, q.KeyDatas, n, err = parseSources(m, "key"); err != nil {
		return err
	}
	if n != 1 {
		return v.errorf("exactly one of %q, %q and %q is needed", "keyPath", "keyPaths", "keyData")
	}
	q.Identity, err = parseIdentity(v, m["signedIdentity"])
	return err
}

func (q *Requirement) parseSigstoreSigned(v value) error {
	m, err := v.fields("type", "keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki", "rekorPublicKeyPath",
		"rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas", "signedIdentity")
	if err != nil {
		return err
	}
	var keys, logs int
	if q.KeyPaths, q.KeyDatas, keys, err = parseSources(m, "key"); err != nil {
		return err
	}
	if q.RekorKeyPaths, q.RekorKeyDatas, logs, err = parseSources(m, "rekorPublicKey"); err != nil {
		return err
	}
	if f, ok := m["fulcio"]; ok {
		keys++
		if q.Fulcio, err = parseFulcio(f); err != nil {
			return err
		}
	}
	if p, ok := m["pki"]; ok {
		keys++
		if q.PKI, err = parsePKI(p); err != nil {
			return err
		}
	}
	switch {
	case keys != 1:
		return v.errorf("exactly one of %q, %q, %q, %q, %q and %q is needed",
			"keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki")
	case logs > 1:
		return v.errorf("at most one of %q, %q, %q and %q is possible",
			"rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas")
	case q.Fulcio != nil && logs == 0:
		return v.errorf("%q needs the key of a log, such as %q", "fulcio", "rekorPublicKeyPath")
	case q.PKI != nil && logs > 0:
		return v.errorf("%q and the key of a log do not go together", "pki")
	}
	q.Identity, err = parseIdentity(v, m["signedIdentity"])
	return err
}

// parseSources reads prefixPath, prefixPaths, prefixData and prefixDatas, and counts them.
func parseSources(m map[string]value, prefix string) (paths []string, datas [][]byte, n int, err error) {
	if v, ok := m[prefix+"Path"]; ok {
		paths = make([]string, 1)
		n, err = n+1, v.filled(&paths[0])
	}
	if v, ok := m[prefix+"Paths"]; ok && err == nil {
		if n, err = n+1, v.decode(&paths); err == nil && len(paths) == 0 {
			err = v.errorf("it has no entries")
		}
	}
	if v, ok := m[prefix+"Data"]; ok && err == nil {
		datas = make([][]byte, 1)
		n, err = n+1, v.decode(&datas[0])
	}
	if v, ok := m[prefix+"Datas"]; ok && err == nil {
		if n, err = n+1, v.decode(&datas); err == nil && len(datas) == 0 {
			err = v.errorf("it has no entries")
		}
	}
	return paths, datas, n, err
}

// filled reads a string that is not empty.
func (v value) filled(to *string) error {
	if err := v.decode(to); err != nil {
		return err
	}
	if v.doc != nil && *to == "" {
		return v.errorf("it is empty")
	}
	return nil
}

func parseFulcio(v value) (*Fulcio, error) {
	m, err := v.fields("caPath", "caData", "oidcIssuer", "subjectEmail")
	if err != nil {
		return nil, err
	}
	f := &Fulcio{}
	if err := firstError(m["caPath"].filled(&f.CAPath), m["caData"].decode(&f.CAData),
		m["oidcIssuer"].filled(&f.Issuer), m["subjectEmail"].filled(&f.Subject)); err != nil {
		return nil, err
	}
	switch {
	case (f.CAPath != "") == (f.CAData != nil):
		return nil, v.errorf("exactly one of %q and %q is needed", "caPath", "caData")
	case f.Issuer == "" || f.Subject == "":
		return nil, v.errorf("both %q and %q are needed", "oidcIssuer", "subjectEmail")
	}
	return f, nil
}

func parsePKI(v value) (*PKI, error) {
	m, err := v.fields("caRootsPath", "caRootsData", "caIntermediatesPath", "caIntermediatesData", "subjectEmail",
		"subjectHostname")
	if err != nil {
		return nil, err
	}
	p := &PKI{}
	if err := firstError(
		m["caRootsPath"].filled(&p.RootsPath), m["caRootsData"].decode(&p.RootsData),
		m["caIntermediatesPath"].filled(&p.IntermediatesPath), m["caIntermediatesData"].decode(&p.IntermediatesData),
		m["subjectEmail"].decode(&p.Email), m["subjectHostname"].decode(&p.Hostname),
	); err != nil {
		return nil, err
	}
	switch {
	case (p.RootsPath != "") == (p.RootsData != nil):
		return nil, v.errorf("exactly one of %q and %q is needed", "caRootsPath", "caRootsData")
	case p.IntermediatesPath != "" && p.IntermediatesData != nil:
		return nil, v.errorf("at most one of %q and %q is possible", "caIntermediatesPath", "caIntermediatesData")
	case p.Email == "" && p.Hostname == "":
		return nil, v.errorf("%q or %q is needed", "subjectEmail", "subjectHostname")
	}
	return p, nil
}

// firstError is used where errors are mistakes at several places of one document.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// parseIdentity reads the identity rule of a requirement. There need not be one.
func parseIdentity(owner, v value) (Identity, error) {
	if v.doc == nil {
		return Identity{Type: matchDefault}, nil
	}
	members, err := v.object()
	if err != nil {
		return Identity{}, err
	}
	var i Identity
	if err := members["type"].decode(&i.Type); err != nil {
		return i, err
	}
	known := map[string][]string{
		"matchExact": nil, matchDefault: nil, "matchRepository": nil,
		"exactReference": {"dockerReference"}, "exactRepository": {"dockerRepository"},
		"remapIdentity": {"prefix", "signedPrefix"},
	}
	keys, ok := known[i.Type]
	if !ok {
		return i, owner.errorf("there is no identity rule of type %.80q", i.Type)
	}
	if _, err := v.fields(append([]string{"type"}, keys...)...); err != nil {
		return i, err
	}
	for _, k := range keys {
		if _, ok := members[k]; !ok {
			return i, v.errorf("%q is missing", k)
		}
	}
	return i, firstError(members["dockerReference"].filled(&i.Reference), members["dockerRepository"].filled(&i.Reference),
		members["prefix"].filled(&i.Prefix), members["signedPrefix"].filled(&i.SignedPrefix))
}
