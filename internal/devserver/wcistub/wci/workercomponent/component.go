// Package workercomponent would run worker controllers in every namespace. Here
// it adds nothing to the server.
package workercomponent

import "go.uber.org/fx"

// Module adds no component.
var Module = fx.Options()
