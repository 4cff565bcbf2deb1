//go:build interop

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completers print what a shell offers for the command line $1, a word a line.
var completers = map[string][]string{
	"bash": {"bash", "-c", `
		source /usr/share/bash-completion/bash_completion
		source <(ostree-ext completion bash)
		# Readline separates = and : from words.
		read -ra COMP_WORDS <<<"$(sed 's/[=:]/ & /g' <<<"$1")"
		[[ $1 == *[=:\ ] ]] && COMP_WORDS+=('')
		COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9 COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		__start_ostree-ext ostree-ext "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
		printf '%s\n' "${COMPREPLY[@]}"`, "bash"},
	"fish": {"fish", "-c", `source (ostree-ext completion fish | psub); complete -C $argv[1] | cut -f1`},
	"zsh": {"zsh", "-f", "-c", `
		compdef() { }
		_describe() { print -rl -- ${completions//\\:/:} }
		source <(ostree-ext completion zsh)
		words=(${=1}); [[ $1 == *' ' ]] && words+=('')
		CURRENT=$#words
		_ostree-ext`, "zsh"},
}

func TestInterop_ShellsCompleteRefsFormatsTransportsAndFiles(t *testing.T) {
	dir := t.TempDir()
	must(t, program, "repo", "init", "--mode=archive", "--repo="+filepath.Join(dir, "r"))
	for _, name := range []string{"tree/usr", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, branch := range []string{"os/stable", "os/testing"} {
		must(t, program, "repo", "commit", "--repo="+filepath.Join(dir, "r"), "--branch="+branch, filepath.Join(dir, "tree"))
	}
	for _, c := range []struct {
		line string
		want []string
	}{
		{"ostree-ext container encapsulate --repo=r ", []string{"os/stable", "os/testing"}},
		{"ostree-ext container build --format=", []string{"ostree", "plain"}},
		{"ostree-ext container build --format=p", []string{"plain"}},
		{"ostree-ext container build doc", []string{"docker-archive:", "docker://"}},
		{"ostree-ext container build oci:", []string{"oci:home/", "oci:r/", "oci:tree/"}},
		{"ostree-ext container info ostree-unverified-image:oci:t", []string{"ostree-unverified-image:oci:tree/"}},
	} {
		for shell, completer := range completers {
			cmd := exec.CommandContext(t.Context(), completer[0], append(slices.Clone(completer[1:]), c.line)...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "HOME="+dir+"/home",
				"TERM=dumb")
			out, err := cmd.Output()
			if err != nil && len(out) == 0 {
				t.Errorf("%s: %q: %v", shell, c.line, err)
			}
			// Some shells offer the word, others what follows the last = or : of it.
			word := c.line[strings.LastIndexByte(c.line, ' ')+1:]
			var got []string
			for s := range strings.FieldsSeq(string(out)) {
				if flag, value, ok := strings.Cut(s, "="); ok && strings.HasPrefix(flag, "--") {
					s = value
				}
				if i := strings.LastIndexByte(word, ':'); i >= 0 && !strings.HasPrefix(s, word[:i+1]) {
					s = word[:i+1] + s
				}
				got = append(got, s)
			}
			if slices.Sort(got); !slices.Equal(got, c.want) {
				t.Errorf("%s: %q: got %q, want %q", shell, c.line, got, c.want)
			}
		}
	}
}
