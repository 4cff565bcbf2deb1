package advice

// Rule is one kind of advice.
type Rule struct {
	// Name is the name of the advice, and of its section in docs/advice.md.
	Name string
	// Summary says what the files are, and End how to be rid of them: a command where there is one.
	Summary, End string
	// EachUpdate says that the files differ in each build, so that each update downloads them. Other files are only
	// downloaded when their layer changes.
	EachUpdate bool

	// dirs are directories that all files below belong to, with a slash at the end. A directory that begins with "~/" is
	// in the home of any user.
	dirs []string
	// files are patterns as of [path.Match]. Only the last element may have wildcards.
	files []string
}

// The rules that need more than the listing.
const (
	ruleInitramfs  = "initramfs"
	rulePycTimes   = "pyc-times"
	rulePycStale   = "pyc-stale"
	ruleGzipTimes  = "gzip-times"
	ruleHidden     = "hidden-files"
	ruleDuplicates = "duplicate-files"
	rulePrior      = "prior-unused"
	ruleUnowned    = "unowned-big"
	ruleJournals   = "database-journals"
	ruleOld        = "old-versions"
)

// Rules returns all rules, in the order of docs/advice.md.
func Rules() []Rule { return append(treeRules(), buildRules()...) }

// treeRules returns what one tree or image shows.
func treeRules() []Rule {
	return []Rule{
		{
			Name: "apt-lists", Summary: "the lists of packages that apt fetched", EachUpdate: true,
			End: "rm -rf /var/lib/apt/lists/*", dirs: []string{"/var/lib/apt/lists/"},
		},
		{
			Name: "apt-cache", Summary: "the packages and indexes in apt's cache", EachUpdate: true,
			End:  "apt-get clean && rm -f /var/cache/apt/*.bin",
			dirs: []string{"/var/cache/apt/", "/var/cache/apt-file/", "/var/cache/debconf/tmp/"},
		},
		{
			Name: "dnf-cache", Summary: "the packages and lists that dnf or yum fetched", EachUpdate: true,
			End: "dnf clean all && rm -rf /var/cache/dnf /var/cache/libdnf5 /var/cache/yum",
			dirs: []string{"/var/cache/dnf/", "/var/cache/libdnf5/", "/var/cache/yum/", "/var/cache/PackageKit/",
				"/var/lib/dnf/repos/", "/var/cache/rpm-ostree/", "/var/cache/tdnf/"},
		},
		{
			Name: "dnf-history", Summary: "the history of dnf or yum, with the times of builds", EachUpdate: true,
			End: "rm -rf /var/lib/dnf/history* /usr/lib/sysimage/libdnf5/transaction_history* /var/lib/yum/history",
			dirs: []string{"/var/lib/dnf/history/", "/var/lib/yum/history/", "/var/lib/dnf/yumdb/", "/var/lib/yum/yumdb/",
				"/var/lib/rpm-state/"},
			files: []string{"/var/lib/dnf/history.*", "/usr/lib/sysimage/libdnf5/transaction_history.*",
				"/var/lib/PackageKit/transactions.db"},
		},
		{
			Name: "zypper-cache", Summary: "the packages and lists that zypper fetched", EachUpdate: true,
			End: "zypper clean --all", dirs: []string{"/var/cache/zypp/", "/var/cache/zypper/"},
		},
		{
			Name: "apk-cache", Summary: "the packages and indexes in apk's cache", EachUpdate: true,
			End: "apk add --no-cache …, or rm -rf /var/cache/apk/*", dirs: []string{"/var/cache/apk/", "/etc/apk/cache/"},
		},
		{
			Name: "pacman-cache", Summary: "the packages and lists that pacman fetched", EachUpdate: true,
			End:  "rm -rf /var/cache/pacman/pkg/* /var/lib/pacman/sync/*",
			dirs: []string{"/var/cache/pacman/", "/var/lib/pacman/sync/"},
		},
		{
			Name: "opkg-lists", Summary: "the lists that opkg update fetched", EachUpdate: true,
			End:  "rm -rf /var/opkg-lists/* /var/lib/opkg/lists/*",
			dirs: []string{"/var/opkg-lists/", "/var/lib/opkg/lists/"},
		},
		{
			Name: "portage-cache", Summary: "the sources, packages and ebuilds that Portage fetched", EachUpdate: true,
			End: "rm -rf /var/cache/distfiles/* /var/cache/binpkgs/* /var/db/repos/* /var/tmp/portage",
			dirs: []string{"/var/cache/distfiles/", "/var/cache/binpkgs/", "/var/db/repos/", "/var/cache/edb/",
				"/var/tmp/portage/"},
		},
		{
			Name: "pip-cache", Summary: "what pip, uv, conda and others fetched or built", EachUpdate: true,
			End: "pip install --no-cache-dir …, or rm -rf ~/.cache/pip ~/.cache/uv; conda clean --all --yes",
			dirs: []string{"~/.cache/pip/", "~/.cache/uv/", "~/.cache/pypoetry/", "~/.cache/pipenv/", "/opt/conda/pkgs/cache/",
				"~/.conda/pkgs/", "/var/cache/pip/", "/opt/miniconda3/pkgs/cache/", "/opt/miniforge3/pkgs/cache/"},
			files: []string{"/opt/conda/pkgs/*.conda", "/opt/conda/pkgs/*.tar.bz2", "/opt/miniconda3/pkgs/*.conda",
				"/opt/miniconda3/pkgs/*.tar.bz2", "/opt/miniforge3/pkgs/*.conda", "/opt/miniforge3/pkgs/*.tar.bz2"},
		},
		{
			Name: "npm-cache", Summary: "what npm, yarn or pnpm fetched", EachUpdate: true,
			End: "npm cache clean --force, or rm -rf ~/.npm ~/.cache/yarn",
			dirs: []string{"~/.npm/", "~/.cache/yarn/", "~/.cache/node-gyp/", "~/.cache/node/", "~/.cache/pnpm/",
				"~/.local/share/pnpm/store/", "~/.yarn/berry/cache/", "~/.bun/install/cache/",
				"/usr/local/share/.cache/", "/usr/share/.cache/"},
		},
		{
			Name: "build-cache", Summary: "what compilers and build tools fetched or built", EachUpdate: true,
			End: "build in a stage of its own, or with RUN --mount=type=cache, and copy only the result",
			dirs: []string{"~/.cache/go-build/", "~/go/pkg/mod/cache/", "/go/pkg/mod/cache/", "~/.cargo/registry/",
				"/usr/local/cargo/registry/", "~/.m2/repository/", "~/.gradle/caches/", "~/.composer/cache/",
				"~/.cache/composer/", "~/.cache/ccache/", "~/.ccache/", "/var/cache/ccache/", "~/.gem/", "~/.bundle/cache/",
				"/usr/local/bundle/cache/", "~/.nuget/packages/", "~/.cache/bazel/", "~/.cargo/git/",
				"/usr/local/cargo/git/", "~/.rustup/downloads/", "~/.rustup/tmp/", "/usr/local/rustup/downloads/",
				"/usr/local/rustup/tmp/", "~/.cabal/packages/", "~/.ivy2/cache/"},
		},
		{
			Name: "user-cache", Summary: "caches and histories in home directories", EachUpdate: true,
			End:  "rm -rf ~/.cache ~/.bash_history",
			dirs: []string{"~/.cache/"},
			files: []string{"~/.bash_history", "~/.python_history", "~/.node_repl_history", "~/.wget-hsts", "~/.lesshst",
				"~/.ash_history", "~/.zsh_history", "~/.viminfo"},
		},
		{
			Name: "ldconfig-cache", Summary: "ldconfig's auxiliary cache, with times and inode numbers", EachUpdate: true,
			End: "rm -f /var/cache/ldconfig/aux-cache", dirs: []string{"/var/cache/ldconfig/"},
		},
		{
			Name: "fontconfig-cache", Summary: "caches of fonts, with the times of directories", EachUpdate: true,
			End:  "rm -rf /var/cache/fontconfig/* /usr/lib/fontconfig/cache/*",
			dirs: []string{"/var/cache/fontconfig/", "/usr/lib/fontconfig/cache/", "~/.fontconfig/"},
		},
		{
			Name: "man-index", Summary: "the index of manual pages, with times", EachUpdate: true,
			End: "rm -rf /var/cache/man/*", dirs: []string{"/var/cache/man/"},
		},
		{
			Name: "icon-cache", Summary: "caches of icons, in the order of directories", EachUpdate: true,
			End: "rm -f /usr/share/icons/*/icon-theme.cache",
		},
		{
			Name: "other-caches", Summary: "other caches below /var/cache", EachUpdate: true,
			End: "rm -rf /var/cache/*, except what a package needs", dirs: []string{"/var/cache/"},
		},
		{
			Name: "logs", Summary: "logs of the build", EachUpdate: true,
			End: "find /var/log -type f -delete", dirs: []string{"/var/log/"}, files: []string{"/root/*.log"},
		},
		{
			Name: "temporary-files", Summary: "temporary files and state of running programs", EachUpdate: true,
			End: "rm -rf /tmp/* /var/tmp/* /run/*, or RUN --mount=type=tmpfs,target=/tmp",
			dirs: []string{"/tmp/", "/var/tmp/", "/run/", "/var/run/", "/var/lock/", "/var/spool/", "/var/crash/",
				"/var/lib/systemd/coredump/"},
		},
		{
			Name: "machine-id", Summary: "the identity of a machine, which all hosts would share", EachUpdate: true,
			End:   "printf 'uninitialized\\n' >/etc/machine-id && rm -f /var/lib/dbus/machine-id",
			files: []string{"/etc/machine-id", "/var/lib/dbus/machine-id"},
		},
		{
			Name: "random-seed", Summary: "random numbers, which all hosts would share", EachUpdate: true,
			End: "rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret",
			files: []string{"/var/lib/systemd/random-seed", "/var/lib/systemd/credential.secret", "/var/lib/random-seed",
				"/var/lib/urandom/random-seed", "/var/lib/misc/random-seed", "/boot/loader/random-seed",
				"/efi/loader/random-seed", "/boot/efi/loader/random-seed", "/root/.gnupg/random_seed",
				"/var/roothome/.gnupg/random_seed"},
		},
		{
			Name: "host-keys", Summary: "private keys that were made in the build, which all hosts would share",
			EachUpdate: true,
			End:        "rm -f /etc/ssh/ssh_host_*, and make them when a host starts for the first time",
			files: []string{"/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_*_key.pub", "/etc/dropbear/*_host_key",
				"/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem",
				"/etc/pki/tls/private/localhost.key", "/etc/pki/tls/certs/localhost.crt"},
		},
		{
			Name: "build-container", Summary: "names and addresses of the container that the build ran in",
			EachUpdate: true,
			End:        "truncate -s 0 /etc/hostname /etc/resolv.conf, or mount them in the build",
			files:      []string{"/etc/hostname", "/etc/resolv.conf", "/.dockerenv"},
		},
		{
			Name: "package-locks", Summary: "locks and environments of package databases", EachUpdate: true,
			End: "rm -f /var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock, and __db.* beside it",
			files: []string{"/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock", "/usr/share/rpm/.rpm.lock",
				"/var/lib/rpm/.dbenv.lock", "/usr/lib/sysimage/rpm/.dbenv.lock", "/usr/share/rpm/.dbenv.lock",
				"/var/lib/rpm/__db.*", "/usr/lib/sysimage/rpm/__db.*", "/usr/share/rpm/__db.*",
				"/var/lib/dpkg/lock*", "/var/lib/apt/lists/lock", "/var/lib/pacman/db.lck", "/lib/apk/db/lock",
				"/usr/lib/apk/db/lock"},
		},
		{
			Name: ruleOld, Summary: "the state of package managers and accounts before the last change", EachUpdate: true,
			End: "rm -f /var/lib/dpkg/*-old /var/cache/debconf/*-old /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-",
			files: []string{"/var/lib/dpkg/*-old", "/var/cache/debconf/*-old", "/var/backups/*", "/etc/passwd-", "/etc/group-",
				"/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-"},
		},
		{
			Name: ruleJournals, Summary: "journals of databases that were not closed", EachUpdate: true,
			End: "close the database in the build, or sqlite3 FILE 'PRAGMA journal_mode=DELETE' && sqlite3 FILE VACUUM",
		},
		{
			Name: ruleInitramfs, Summary: "an initial RAM disk that differs in each build", EachUpdate: true,
			End: "set SOURCE_DATE_EPOCH for update-initramfs or mkinitcpio; dracut also needs --reproducible",
		},
		{
			Name: rulePycTimes, Summary: "compiled Python files with the times of sources that the build unpacked",
			EachUpdate: true,
			End:        "python3 -m compileall -q -f --invalidation-mode unchecked-hash DIR, or PYTHONDONTWRITEBYTECODE=1",
		},
		{
			Name: ruleGzipTimes, Summary: "files whose gzip header has the time of the build", EachUpdate: true,
			End: "gzip -n",
		},
		{
			Name: rulePrior, Summary: "layers whose content did not change, and that were divided anew", EachUpdate: true,
			End: "build with --prior=IMGREF of the image that hosts have now, or write to its name",
		},
		{
			Name: rulePycStale, Summary: "compiled Python files that Python does not use",
			End: "python3 -m compileall -q -f --invalidation-mode unchecked-hash DIR",
		},
		{
			Name: ruleUnowned, Summary: "large files that no package owns",
			End: "install them from a package, divide them, or say how often they change: docs/chunking.md",
		},
		{
			Name: ruleHidden, Summary: "files in layers that a later layer replaces or deletes",
			End: "rechunk the image, or delete files in the RUN that made them",
		},
		{
			Name: ruleDuplicates, Summary: "files whose content is in several layers",
			End: "keep one copy, and make links to it",
		},
	}
}
