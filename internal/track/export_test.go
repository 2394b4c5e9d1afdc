package track

// Parameters are the keys that each tracker has.
func Parameters() map[string][]string {
	return map[string][]string{
		"tensorboard": keysOf(&tensorboardParams{}), "wandb": keysOf(&wandbParams{}), "mlflow": keysOf(&mlflowParams{}), "prometheus": keysOf(&prometheusParams{}),
	}
}
