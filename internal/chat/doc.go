// Package chat turns a conversation into the text that a model reads, by the chat
// template that the model ships.
//
//	t, err := chat.New(tok.ChatTemplate())
//	text, err := t.Render(messages, chat.Options{AddGenerationPrompt: true, EOS: "<|im_end|>"})
//	ids := tok.Encode(text, false) // the template writes the special tokens itself
//
// Without a template (or with "none") prompts are plain text. Rendering depends on
// its arguments alone: a template that asks for the date gets the one in
// [Options.Now] or, if that is zero, finds no clock.
package chat
