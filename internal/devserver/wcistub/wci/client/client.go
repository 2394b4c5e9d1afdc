// Package client answers the server's questions about worker controllers: there
// are none, and none can be made.
package client

import (
	"context"

	deploymentpb "go.temporal.io/api/deployment/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/auto-scaled-workers/wci/workflow/iface"
	"go.temporal.io/server/common/namespace"
	"go.uber.org/fx"
)

// Module provides the Client to the server.
var Module = fx.Provide(func() Client { return none{} })

// Client is what the server calls.
type Client interface {
	// DescribeWorkerControllerInstance returns NotFound: no version has a controller.
	DescribeWorkerControllerInstance(ctx context.Context, ns *namespace.Namespace, version *deploymentpb.WorkerDeploymentVersion) (*iface.QueryDescribeWorkerControllerInstanceResponse, []byte, error)
	// UpdateWorkerControllerInstance returns Unimplemented if a group is asked for.
	UpdateWorkerControllerInstance(ctx context.Context, ns *namespace.Namespace, version *deploymentpb.WorkerDeploymentVersion, conflictToken []byte, identity string, upsert map[string]iface.ScalingGroupSpecUpdate, remove []string) (*iface.UpdateWorkerControllerInstanceResponse, error)
	// ValidateWorkerControllerInstanceSpec returns Unimplemented if a group is asked for.
	ValidateWorkerControllerInstanceSpec(ctx context.Context, ns *namespace.Namespace, version *deploymentpb.WorkerDeploymentVersion, identity string, upsert map[string]iface.ScalingGroupSpecUpdate, remove []string) error
	// DeleteWorkerControllerInstance does nothing: there is nothing to delete.
	DeleteWorkerControllerInstance(ctx context.Context, ns *namespace.Namespace, version *deploymentpb.WorkerDeploymentVersion, identity string) error
}

type none struct{}

func (none) DescribeWorkerControllerInstance(context.Context, *namespace.Namespace, *deploymentpb.WorkerDeploymentVersion) (*iface.QueryDescribeWorkerControllerInstanceResponse, []byte, error) {
	return nil, nil, serviceerror.NewNotFound("this server is built without a worker controller")
}

func (none) UpdateWorkerControllerInstance(_ context.Context, _ *namespace.Namespace, _ *deploymentpb.WorkerDeploymentVersion, _ []byte, _ string, upsert map[string]iface.ScalingGroupSpecUpdate, _ []string) (*iface.UpdateWorkerControllerInstanceResponse, error) {
	if err := refuse(upsert); err != nil {
		return nil, err
	}
	return &iface.UpdateWorkerControllerInstanceResponse{}, nil
}

func (none) ValidateWorkerControllerInstanceSpec(_ context.Context, _ *namespace.Namespace, _ *deploymentpb.WorkerDeploymentVersion, _ string, upsert map[string]iface.ScalingGroupSpecUpdate, _ []string) error {
	return refuse(upsert)
}

func (none) DeleteWorkerControllerInstance(context.Context, *namespace.Namespace, *deploymentpb.WorkerDeploymentVersion, string) error {
	return nil
}

func refuse(upsert map[string]iface.ScalingGroupSpecUpdate) error {
	if len(upsert) == 0 {
		return nil
	}
	return serviceerror.NewUnimplemented("this server is built without a worker controller: it cannot start workers on AWS, Google Cloud or Kubernetes; start them yourself, or use a stock Temporal server")
}
