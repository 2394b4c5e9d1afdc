// Package jinja renders the part of Jinja that chat templates use, as
// transformers sets it up: trim_blocks and lstrip_blocks on, no autoescape, the
// loop controls, {% generation %}, Python's values and methods.
//
//	t, err := jinja.Parse(source)
//	text, err := t.Render(map[string]any{"messages": messages}, jinja.Limits{})
//
// A template is hostile input: it cannot name a file, call into Go or change
// what it was given, and a render ends with an error when it takes more steps,
// memory, output or nested calls than its [Limits] allow. There are no includes,
// imports or inheritance. What is not known is refused by name and line.
//
// Golden renders by jinja2 and transformers: internal/chat/testdata.
//
// Inside the package an error of the template travels as a panic of type failure
// that Parse and Render recover, as in text/template.
package jinja
