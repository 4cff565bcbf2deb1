package main

import "github.com/spf13/cobra"

func newTrustCommand(a *app) *cobra.Command {
	return group("trust", "Who may sign images",
		newTrustCheckCommand(a), newTrustInitCommand(a), newTrustUpdateCommand(a))
}
