package keyless

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/generated/models"
)

// maxAnswer bounds the size of the answer of a log in bytes.
const maxAnswer = 1 << 20

// rekor1 is a client of Rekor 1. That of the library neither bounds answers nor notices parts that are missing in them.
type rekor1 struct {
	client *http.Client
	url    string
}

// CreateLogEntry adds an entry to the log. The API is described at https://www.sigstore.dev/swagger/.
func (r rekor1) CreateLogEntry(
	p *entries.CreateLogEntryParams, _ ...entries.ClientOption,
) (*entries.CreateLogEntryCreated, error) {
	ask, err := json.Marshal(p.ProposedEntry)
	if err != nil {
		return nil, err
	}
	address := strings.TrimSuffix(r.url, "/") + "/api/v1/log/entries"
	req, err := http.NewRequestWithContext(p.Context, http.MethodPost, address, bytes.NewReader(ask))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("%s answered %s: %.500s", address, resp.Status, data)
	}
	var logged models.LogEntry
	if err := json.Unmarshal(data, &logged); err != nil {
		return nil, fmt.Errorf("the answer of %s: %w", address, err)
	}
	for id, e := range logged {
		if complete(e) {
			return &entries.CreateLogEntryCreated{ETag: id, Payload: logged}, nil
		}
	}
	return nil, fmt.Errorf("the answer of %s has no entry with a proof and a promise", address)
}

// complete reports whether an entry has everything that a bundle needs.
func complete(e models.LogEntryAnon) bool {
	v := e.Verification
	if v == nil || v.InclusionProof == nil || len(v.SignedEntryTimestamp) == 0 {
		return false
	}
	p := v.InclusionProof
	return e.LogID != nil && e.LogIndex != nil && e.IntegratedTime != nil && e.Body != nil &&
		p.RootHash != nil && p.Checkpoint != nil && p.LogIndex != nil && p.TreeSize != nil
}

// GetLogEntryByUUID would be asked for an entry that is in the log already, which one with a new key never is.
func (rekor1) GetLogEntryByUUID(
	*entries.GetLogEntryByUUIDParams, ...entries.ClientOption,
) (*entries.GetLogEntryByUUIDOK, error) {
	return nil, errors.New("the log already has the entry of a new key")
}
