package grouse

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user, assistant, tool
	Content string `json:"content"`
}

// Prompt is what the policy is given: one row of a domain's data, rendered by
// the model's chat template and tokenized.
type Prompt struct {
	RowID    string         `json:"row_id"` // stable name of the data row: "<domain>/<index>" unless the data has an id
	Domain   string         `json:"domain"`
	Messages []Message      `json:"messages,omitempty"` // before rendering; a plain-text prompt has none
	Text     string         `json:"text"`               // as rendered, special tokens included
	TokenIDs []int32        `json:"token_ids"`
	Columns  map[string]any `json:"columns,omitempty"` // every column of the data row, as read: rewards get them all
}
