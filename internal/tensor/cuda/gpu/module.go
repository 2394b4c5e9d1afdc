//go:build cuda && cgo

package gpu

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"gorgonia.org/cu"
	"gorgonia.org/cu/nvrtc"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/cudashim"
	"github.com/grouse-rl/grouse/internal/durable"
)

// Kernels are the sources of a device's kernels and what was made of them.
type Kernels struct {
	Files fs.FS    // *.cu, *.cuh
	Main  string   // the one to compile
	Names []string // of all kernels
	Flags []string // of the compiler, besides the architecture
	// PTX returns the PTX for an architecture ("compute_80"), of those in Archs.
	PTX   func(arch string) ([]byte, error)
	Archs []int // compute capabilities of the PTX, ascending: 80, 90
}

// EnvKernels forces where kernels come from: "nvrtc" or "ptx".
const EnvKernels = "GROUSE_KERNELS"

// load makes the module, on the device's thread, and says where it came from.
func load(k Kernels, info Info, cacheDir string) (map[string]*kernel, string, error) {
	force := os.Getenv(EnvKernels)
	switch force {
	case "", "nvrtc", "ptx":
	default:
		return nil, "", grouse.Errorf(grouse.Invalid, "%s=%s", EnvKernels, force).WithFix("%s is nvrtc, ptx or not set", EnvKernels)
	}
	var tried []error
	if force != "ptx" {
		m, source, err := loadCubin(k, info, cacheDir, force == "nvrtc")
		if err == nil {
			return functions(k, m, source)
		}
		var compile *compileError
		if force == "nvrtc" || errors.As(err, &compile) { // a fault of the kernels is not papered over by their PTX
			return nil, "", err
		}
		tried = append(tried, err)
	}
	m, source, err := loadPTX(k, info)
	if err != nil {
		return nil, "", errors.Join(append(tried, err)...)
	}
	return functions(k, m, source)
}

func functions(k Kernels, m cu.Module, source string) (map[string]*kernel, string, error) {
	out := map[string]*kernel{}
	for _, name := range k.Names {
		f, err := m.Function(name)
		if err != nil {
			return nil, "", fmt.Errorf("kernel %s in %s: %w", name, source, named(err))
		}
		out[name] = &kernel{f: f}
	}
	return out, source, nil
}

// compileError is what the compiler says of the sources.
type compileError struct{ log string }

func (e *compileError) Error() string { return "compile the kernels: " + e.log }

// loadCubin takes the kernels from the cache, or compiles them for the device's
// architecture and keeps them there. fresh does not read the cache.
func loadCubin(k Kernels, info Info, cacheDir string, fresh bool) (cu.Module, string, error) {
	file, err := cacheFile(k, info.Arch(), cacheDir)
	if err != nil {
		return cu.Module{}, "", err
	}
	if image, err := os.ReadFile(file); err == nil && !fresh {
		if m, err := cu.LoadData(string(image)); err == nil {
			return m, "the cache, " + file, nil
		}
		// What another driver does not take is compiled again.
	}
	lib, err := cudashim.Open(cudashim.NVRTC)
	if err != nil {
		return cu.Module{}, "", err
	}
	image, err := compile(k, info.Arch())
	if err != nil {
		return cu.Module{}, "", err
	}
	m, err := cu.LoadData(string(image))
	if err != nil {
		return cu.Module{}, "", fmt.Errorf("load what NVRTC %s made: %w", lib.Version, named(err))
	}
	source := fmt.Sprintf("NVRTC %s for %s", lib.Version, info.Arch())
	if err := durable.WriteFile(file, image); err != nil {
		source += fmt.Sprintf(" (not kept: %v)", err)
	}
	return m, source, nil
}

// cacheFile names what the sources and flags make for an architecture.
func cacheFile(k Kernels, arch, dir string) (string, error) {
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			user = os.TempDir()
		}
		dir = filepath.Join(user, "grouse", "kernels")
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%q\n", k.Main, k.Flags)
	names, err := sources(k.Files)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		data, err := fs.ReadFile(k.Files, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %x\n", name, sha256.Sum256(data))
	}
	return filepath.Join(dir, hex.EncodeToString(h.Sum(nil)[:16])+"-"+arch+".cubin"), nil
}

// sources are the files of the kernels, sorted.
func sources(files fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if ext := path.Ext(e.Name()); ext == ".cu" || ext == ".cuh" {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// compile makes a cubin.
func compile(k Kernels, arch string) ([]byte, error) {
	names, err := sources(k.Files)
	if err != nil {
		return nil, err
	}
	var main string
	var headers []nvrtc.Include
	for _, name := range names {
		data, err := fs.ReadFile(k.Files, name)
		if err != nil {
			return nil, err
		}
		if name == k.Main {
			main = string(data)
		} else {
			headers = append(headers, nvrtc.Include{Source: string(data), Name: name})
		}
	}
	p, err := nvrtc.CreateProgram(main, k.Main, headers...)
	if err != nil {
		return nil, fmt.Errorf("NVRTC: %w", err)
	}
	defer p.Destroy()
	if err := p.Compile(append([]string{"--gpu-architecture=" + arch}, k.Flags...)...); err != nil {
		log, logErr := p.GetLog()
		if logErr != nil {
			return nil, fmt.Errorf("NVRTC: %w", err)
		}
		log = strings.TrimRight(log, "\x00\n")
		if strings.Contains(log, "--gpu-architecture") { // it does not know the architecture yet
			return nil, fmt.Errorf("NVRTC: %s: %s", arch, log)
		}
		return nil, &compileError{log}
	}
	return cubin(p)
}

// loadPTX lets the driver compile the newest PTX that the device can run.
func loadPTX(k Kernels, info Info) (cu.Module, string, error) {
	best := 0
	for _, a := range k.Archs {
		if a <= 10*info.Major+info.Minor {
			best = a
		}
	}
	if best == 0 {
		return cu.Module{}, "", grouse.Errorf(grouse.Unavailable, "this binary has PTX for %v, none for compute capability %d.%d", k.Archs, info.Major, info.Minor).
			WithFix("make it with scripts/cuda/ptx.sh, or install NVRTC: %s", cudashim.NVRTC.HowToGet())
	}
	arch := fmt.Sprintf("compute_%d", best)
	image, err := k.PTX(arch)
	if err != nil {
		return cu.Module{}, "", err
	}
	m, err := cu.LoadData(string(bytes.TrimRight(image, "\x00")))
	if err = named(err); errors.Is(err, unsupportedPTX) {
		return cu.Module{}, "", grouse.Errorf(grouse.Unavailable, "the driver does not know this binary's PTX, which is of CUDA 12.4").
			WithFix("install NVIDIA's driver 550 or newer, or NVRTC of the driver's own version")
	}
	if err != nil {
		return cu.Module{}, "", fmt.Errorf("load the PTX for %s: %w", arch, err)
	}
	return m, "PTX for " + arch, nil
}
