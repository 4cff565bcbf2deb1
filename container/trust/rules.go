package trust

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/trust/rules"
	"github.com/ostree-ext/ostree-ext-go/internal/guarded"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Limits on the files of rules.
const (
	maxRuleFile  = 1 << 20
	maxRuleFiles = 1000
)

// ErrRules is wrapped by errors about files of rules that are not valid.
var ErrRules = errors.New("rules about signatures are not valid")

// Rules are the rules of trust.d, by scope.
type Rules struct {
	docker map[string]*rules.Rule
}

// Scopes returns the scopes that have a rule, sorted.
func (r *Rules) Scopes() []string { return slices.Sorted(maps.Keys(r.docker)) }

// RuleDirs returns the directories that [LoadRules] reads by default, the more important first: the user's and that of
// the machine.
func RuleDirs(env func(string) string) []string {
	var dirs []string
	if config := env("XDG_CONFIG_HOME"); config != "" {
		dirs = append(dirs, filepath.Join(config, "ostree-ext", "trust.d"))
	} else if home := env("HOME"); home != "" {
		dirs = append(dirs, filepath.Join(home, ".config", "ostree-ext", "trust.d"))
	}
	return append(dirs, "/etc/ostree-ext/trust.d")
}

// LoadRules reads the *.yaml files of directories. A scope in an earlier directory replaces that of a later one; within
// a directory, no scope may occur twice. Directories need not exist. Errors about the content of a file wrap
// [ErrRules]. Others than root and the user may not be able to change a file or a directory, or to remove it:
// such an error wraps [guarded.ErrOpen].
func LoadRules(dirs ...string) (*Rules, error) {
	all := &Rules{docker: map[string]*rules.Rule{}}
	for _, dir := range dirs {
		files, err := ruleFiles(dir)
		if err != nil {
			return nil, fmt.Errorf("reading rules about signatures: %w", err)
		}
		here := map[string]*rules.Rule{}
		for _, file := range files {
			found, err := readRules(file)
			if err != nil {
				return nil, err
			}
			for scope, rule := range found {
				if other := here[scope]; other != nil {
					return nil, fmt.Errorf("%w: %s and %s both have the scope %q: merge them", ErrRules, other.File, file, scope)
				}
				here[scope] = rule
			}
		}
		for scope, rule := range here {
			if all.docker[scope] == nil {
				all.docker[scope] = rule
			}
		}
	}
	return all, nil
}

func ruleFiles(dir string) ([]string, error) {
	if err := guarded.Ours().Check(dir); errors.Is(err, guarded.ErrOpen) {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".yaml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) > maxRuleFiles {
		return nil, fmt.Errorf("%s has more than %d files", dir, maxRuleFiles)
	}
	return files, nil
}

func readRules(file string) (map[string]*rules.Rule, error) {
	data, err := readSmall(file, maxRuleFile, guarded.Ours())
	if err != nil {
		return nil, fmt.Errorf("reading rules about signatures: %w", err)
	}
	found, err := rules.Parse(file, data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRules, file, err)
	}
	return found, nil
}

// readSmall reads a file of a limited size, which nobody outside of the circle may be able to change.
func readSmall(name string, limit int64, circle guarded.Circle) ([]byte, error) {
	if err := circle.Check(name); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %s", name, sizes.Format(limit))
	}
	return data, nil
}
