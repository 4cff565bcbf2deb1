package keyless

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// audience is whom an identity token must be for, so that it is of use nowhere else.
const audience = "sigstore"

// maxToken bounds the size of an identity token, and of answers with one, in bytes.
const maxToken = 64 << 10

// ErrNoToken is returned by [AmbientToken] where there is no identity token.
var ErrNoToken = errors.New("this is neither GitHub Actions with the permission id-token: write, " +
	"nor GitLab CI with an id_tokens entry SIGSTORE_ID_TOKEN")

// AmbientToken returns the identity token of the job that the program runs in: SIGSTORE_ID_TOKEN, as GitLab sets it if
// id_tokens asks for it, or else one that is fetched where GitHub Actions says so, which it does for jobs with the
// permission id-token: write. The environment is read with env. The client may be nil. The error is [ErrNoToken] if the
// environment has neither; no error has the token in it.
func AmbientToken(ctx context.Context, env func(string) string, client *http.Client) (string, error) {
	if token := strings.TrimSpace(env("SIGSTORE_ID_TOKEN")); token != "" {
		if err := checkToken(token); err != nil {
			return "", fmt.Errorf("SIGSTORE_ID_TOKEN: %w", err)
		}
		return token, nil
	}
	address, bearer := env("ACTIONS_ID_TOKEN_REQUEST_URL"), env("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if address == "" || bearer == "" {
		return "", ErrNoToken
	}
	token, err := githubToken(ctx, address, bearer, client)
	if err != nil {
		return "", fmt.Errorf("asking GitHub for an identity token: %w", err)
	}
	return token, nil
}

// githubToken fetches a token, see
// https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token.
func githubToken(ctx context.Context, address, bearer string, client *http.Client) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", errors.New("ACTIONS_ID_TOKEN_REQUEST_URL is not a URL of HTTPS")
	}
	query := u.Query()
	query.Set("audience", audience)
	u.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "bearer "+bearer)
	req.Header.Set("Accept", "application/json")
	resp, err := cautious(client).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("it answered %s", resp.Status)
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxToken)).Decode(&answer); err != nil {
		return "", errors.New("the answer is not JSON") // it could have the token in it
	}
	return answer.Value, checkToken(answer.Value)
}

// checkToken checks that a token looks like one, and that it has not expired. What it says is for the authority to
// verify.
func checkToken(token string) error {
	if len(token) > maxToken {
		return fmt.Errorf("the identity token has more than %s", sizes.Format(maxToken))
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("the identity token is not a JSON Web Token")
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return errors.New("the identity token is not a JSON Web Token")
	}
	if end := time.Unix(int64(claims.Expires), 0); claims.Expires > 0 && time.Now().After(end) {
		return fmt.Errorf("the identity token expired at %s: ask for it shortly before signing", stamp(end))
	}
	return nil
}
