package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// peak is what a GPU's tensor cores can do in dense bfloat16, operations a second,
// by the name that its driver gives it; 0: not known. NVIDIA's data sheets print
// twice as much, "with sparsity". PCIe and NVL cards of the same chips are slower and
// are not listed.
func peak(gpu string) float64 {
	if strings.Contains(gpu, "PCIe") || strings.Contains(gpu, "NVL") || strings.Contains(gpu, "MIG") {
		return 0
	}
	switch {
	case strings.HasPrefix(gpu, "NVIDIA H100 80GB HBM3"): // SXM
		return 989e12
	case strings.HasPrefix(gpu, "NVIDIA H200"):
		return 989e12
	}
	return 0
}

// printMFU prints the model FLOP utilization of the measurements of training: the
// operations that a step needs by its shape (shape.flops; recomputation counts for
// nothing), a second, by the GPU's peak. doctor is what `grouse doctor --json` wrote,
// speeds what `gpucheck speed` and gpucheck.py did.
func printMFU(doctor, speeds string, out io.Writer) error {
	raw, err := os.ReadFile(doctor)
	if err != nil {
		return err
	}
	var report struct {
		CUDA struct {
			GPUs []struct {
				Name string `json:"name"`
			} `json:"gpus"`
		} `json:"cuda"`
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		return fmt.Errorf("%s: %w", doctor, err)
	}
	if len(report.CUDA.GPUs) == 0 {
		_, err := fmt.Fprintln(out, "MFU is not printed: there is no GPU")
		return err
	}
	name := report.CUDA.GPUs[0].Name // the one that is taken
	most := peak(name)
	if most == 0 {
		_, err := fmt.Fprintf(out, "MFU is not printed: the peak of %s is not known here\n", name)
		return err
	}
	f, err := os.Open(speeds)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(out, "MFU of training on %s, of %.0f TFLOP/s in dense bfloat16\n", name, most/1e12)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if !bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			continue // what a library said
		}
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("%s: %w", speeds, err)
		}
		if l.What == "train" {
			fmt.Fprintf(out, "  %-6s %-16s %9.0f tokens/s %6.1f %%\n", l.Shape, l.Who, l.TokensPS, 100*l.FlopsPS/most)
		}
	}
	return lines.Err()
}
