// Package sign makes and verifies signatures of commits, interchangeably with libostree and in pure Go.
//
// A signature is over the bytes of the commit object, and lies in the commit's detached metadata, a dictionary with one
// list of signatures for each engine. GPG is one engine. The others, ed25519, spki and dummy, are what libostree calls
// its sign API. Dummy signatures are for tests, and exist only if OSTREE_DUMMY_SIGN_ENABLED is 1.
//
// [ForRemote] reads what a remote's configuration demands, and [Verifier.Verify] judges the bytes of a commit and of
// its detached metadata, wherever they come from. [ForLocal], [ForGPG] and [ForKeys] make verifiers for commits without
// a remote. A [Signer] signs: [Sign] adds its signature to detached metadata, and [SignCommit] to those of a commit in
// a repository.
//
// Detached metadata are hostile: everything in them is bounded, and whatever cannot be parsed is a bad signature, which
// neither counts nor hides a good one. Keys and configuration are the administrator's. A key that cannot be parsed is
// skipped, and one that cannot be checked to the end, such as one with a revocation of an unknown format, is not used.
//
// The formats are libostree's: ostree-repo-pull-verify.c, ostree-sign.c and ostree-gpg-verifier.c describe how they are
// used, RFC 9580 and RFC 4880 those of GPG.
package sign
