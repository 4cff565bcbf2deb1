package fetch

// MinKept is the size of the smallest blob that is kept, and MaxBlock that of the blocks in its file.
const (
	MinKept  = minKept
	MaxBlock = maxBlock
)

// SetMaxConnections changes how often one blob is asked for.
func (c *Client) SetMaxConnections(n int) { c.maxConnections = n }
