package devserver

import (
	"context"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
)

// SearchAttributes are the attributes that runs set, and by which the Web UI
// and `grouse ls` filter.
var SearchAttributes = map[string]enumspb.IndexedValueType{
	"GrouseRecipe": enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	"GrouseStage":  enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	"GrouseState":  enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	"GrouseStep":   enumspb.INDEXED_VALUE_TYPE_INT,
	"GrouseReward": enumspb.INDEXED_VALUE_TYPE_DOUBLE,
}

// EnsureSearchAttributes registers the attributes that the namespace lacks, on
// whatever server op belongs to. An error says that some are missing: a run
// must then go without them, since setting an unknown one stops its workflow.
func EnsureSearchAttributes(ctx context.Context, op operatorservice.OperatorServiceClient, namespace string) error {
	have, err := op.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("list search attributes of %s: %w", namespace, err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	for name, kind := range SearchAttributes {
		got, ok := have.GetCustomAttributes()[name]
		if ok && got != kind {
			return fmt.Errorf("search attribute %s of %s is of type %v, want %v", name, namespace, got, kind)
		}
		if !ok {
			missing[name] = kind
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := op.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing}); err != nil {
		return fmt.Errorf("add search attributes to %s: %w", namespace, err)
	}
	return nil
}
