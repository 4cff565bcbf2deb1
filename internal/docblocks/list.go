package docblocks

// entry says what becomes of a block.
type entry struct {
	// file and the beginning of the first line identify the block.
	file, begins string
	// pkg is the package whose tests run the block, through [Of]. It is empty if no test does.
	pkg string
	// why says why no test runs the block, or which other test reads it.
	why string
}

// Packages whose tests run blocks.
const (
	// CommandLine runs commands that need neither root nor other programs.
	CommandLine = "cmd/ostree-ext"
	// Peers runs commands that need root or other programs.
	Peers = "internal/e2e"
	// Builds runs commands that need a builder.
	Builds = "frontend"
	// Releases runs commands that install the program.
	Releases = "cmd/ostree-ext/release"
)

// host is why commands for hosts are not run as they are printed.
const host = "it changes the machine that it runs on; the tests of hosts give the same commands another sysroot"

// trustPage is where the commands of a page are run in its order.
const trustPage = "TestInterop_TheCommandsOfThePageAboutTrustWork in internal/e2e runs it"

// bareDebian is where the README's way to a registry on loopback is run.
const bareDebian = "TestInterop_TheReadmeLeadsToARegistryOnLoopback in internal/e2e runs it"

// firstPages is where the commands of the first pages are run in their order, and what they print is compared.
const firstPages = "TestTheFirstPagesWork in cmd/ostree-ext runs it"

// documentedSteps is which test reads jobs of CI.
const documentedSteps = "TestTheDocumentedJobsUseWhatThereIs in internal/actions reads it"

var list = []entry{
	{"README.md", "apt-get update", "", "it installs a release with the machine's apt; the commands after it are run"},
	{"README.md", "printf ", "", bareDebian},
	{"README.md", "ostree-ext container build --rootfs=rootfs --insecure", "", bareDebian},
	{"README.md", "go install", Releases, ""},
	{"README.md", "make demo", "", "CI runs these commands: .ci/run"},
	{"README.md", "ostree-ext repo init", CommandLine, ""},
	{"README.md", "ostree-ext container build", CommandLine, ""},
	{"README.md", "# syntax=", Builds, ""},
	{"README.md", "docker buildx build", Builds, ""},
	{"README.md", "ostree-ext container unencapsulate", Peers, ""},
	{"CONTRIBUTING.md", "make help", "", "CI runs the commands that matter: .ci/run"},
	{"docs/advice.md", "ostree-ext advise", CommandLine, ""},
	{"docs/advice.md", "ostree-ext container build", CommandLine, ""},
	{"docs/architecture.md", "cmd ", "", "internal/depcheck reads it"},
	{"docs/chunking.md", "ostree-ext chunks plan", CommandLine, ""},
	{"docs/chunking.md", "- name: models", CommandLine, ""},
	{"docs/ci.md", "name: os", "", documentedSteps},
	{"docs/ci.md", "- uses: ostree-ext/", "", documentedSteps},
	{"docs/ci.md", "include:", "", documentedSteps},
	{"docs/ci.md", "old=$(ostree-ext ", CommandLine, ""},
	{"docs/formats.md", "{", "", "TestFormats… in chunking reads it"},
	{"docs/formats.md", "skopeo inspect", Peers, ""},
	{"docs/frontend.md", "# syntax=", Builds, ""},
	{"docs/frontend.md", "docker buildx build", Builds, ""},
	{"docs/frontend.md", "make frontend-image", Builds, ""},
	{"docs/frontend.md", "--build-arg OSTREE_EXT_PRIOR", Builds, ""},
	{"docs/frontend.md", "{", Builds, ""},
	{"docs/frontend.md", "docker:", Builds, ""},
	{"docs/frontend.md", "skopeo copy", Builds, ""},
	{"docs/frontend.md", "docker buildx create --name farm --platform", "", "it needs two other machines"},
	{"docs/frontend.md", "docker buildx create --name farm --driver kubernetes", "", "it needs a Kubernetes cluster"},
	{"docs/frontend.md", "on:", "", "it needs GitHub"},
	{"docs/frontend.md", "image:", "", "it needs GitLab"},
	{"README.md", "ostree-ext container image deploy", "", host},
	{"docs/hosts.md", "ostree-ext container image ", "", host},
	{"docs/hosts.md", "ostree admin ", "", host},
	{"docs/hosts.md", "ostree-ext repo fsck", "", host},
	{"docs/hosts.md", "from: ", "", "it is what a command prints"},
	{"docs/install.md", "go install", Releases, ""},
	{"docs/install.md", "make release", "",
		"TestInterop_AReleaseIsTheSameWhereverItIsMade in cmd/ostree-ext/release runs it"},
	{"docs/install.md", "make publish", "", "TestInterop_ImagesArePublishedAndSigned in cmd/ostree-ext/release runs it"},
	{"docs/install.md", "sha256sum", Releases, ""},
	{"docs/install.md", "systemctl enable", "",
		"TestInterop_APackageIsInstalledAndRemoved in cmd/ostree-ext/release enables it"},
	{"docs/install.md", "[Service]", "", "TestInterop_SystemdAcceptsTheUnits in cmd/ostree-ext/release reads it"},
	{"docs/signatures.md", "openssl genpkey", Peers, ""},
	{"docs/signatures.md", "der() {", Peers, ""},
	{"docs/signatures.md", "ostree-ext repo sign", Peers, ""},
	{"docs/signatures.md", "ostree-ext container ", Peers, ""},
	{"docs/signatures.md", "[remote ", "", "TestTheDocumentedRemoteIsUnderstood in repo/sign reads it"},
	{"docs/signatures.md", "ostree-ext repo pull-local", "", "signed-pull.txtar in cmd/ostree-ext runs such commands"},
	{"docs/signing.md", "openssl genpkey", Peers, ""},
	{"docs/signing.md", "ostree-ext container ", CommandLine, ""},
	{"docs/signing.md", "permissions:", "", "it needs GitHub"},
	{"docs/start-ci.md", "- uses: ostree-ext/", "", documentedSteps},
	{"docs/start-ci.md", "", "", firstPages},
	{"docs/start-host.md", "", "", "TestInterop_TheFirstPageOfHostsWorks in cmd/ostree-ext runs it"},
	{"docs/switching.md", "ostree-ext rechunk docker://registry.example/app:1", "", firstPages},
	{"docs/switching.md", "to download: ", "", firstPages},
	{"docs/switching.md", "ostree-ext chunks diff", "", firstPages},
	{"docs/switching.md", "554.8 kB", "", firstPages},
	{"docs/switching.md", "# syntax=", Builds, ""},
	{"docs/switching.md", "docker buildx build", Builds, ""},
	{"docs/switching.md", "ostree-ext rechunk", CommandLine, ""},
	{"docs/switching.md", "- uses: ostree-ext/", "", documentedSteps},
	{"docs/switching.md", "ostree-ext compose rechunk", CommandLine, ""},
	{"docs/trust.md", "openssl genpkey", "", trustPage},
	{"docs/trust.md", "ostree-ext container trust update", "", "it needs the network: see trust-update.txtar"},
	{"docs/trust.md", "ostree-ext container image deploy", "", host},
	{"docs/trust.md", "ostree-ext ", "", trustPage},
	{"docs/trust.md", "ostree remote add", "", trustPage},
	{"docs/trust.md", "- run: ", "", "it needs GitHub"},
	{"docs/trust.md", "permissions:", "", "it needs GitHub; sign-identity.txtar has its tokens"},
	{"docs/trust.md", "docker:", "", "TestTheDocumentedRulesAreUnderstood in container/trust reads it"},
	{"docs/trust.md", "{", "", "TestTheDocumentedRequirementIsUnderstood in container/trust reads it"},
	{"docs/trust.md", "error: ", "", "TestFilesThatOthersCouldChangeLetNothingIn in container/trust gets it"},
	{"docs/switching.md", "ostree-ext compose build-chunked-oci", CommandLine, ""},
	{"docs/switching.md", "ostree-ext chunkah build", CommandLine, ""},
	{"docs/testing.md", "make quick", "", "CI runs the commands that matter: .ci/run"},
}
