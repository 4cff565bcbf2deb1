// Package policy reads containers-policy.json and evaluates it.
package policy
