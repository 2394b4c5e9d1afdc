package cudashim

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Library is one of NVIDIA's libraries.
type Library int

// The libraries, in the order in which they are of use.
const (
	Driver   Library = iota // libcuda, part of the driver's installation
	CuBLASLt                // matrix products
	NVRTC                   // compiles the kernels for the very GPU; optional
	NCCL                    // several GPUs; optional
)

// Libraries are all.
var Libraries = []Library{Driver, CuBLASLt, NVRTC, NCCL}

// EnvFolders names folders, separated by colons, that are searched first.
const EnvFolders = "GROUSE_CUDA_LIBS"

// facts of a library. The number in a soname is CUDA's major version where
// byMajor says so.
type facts struct {
	name    string
	sonames []string // newest first
	byMajor bool
	get     string // how to get it
}

var table = [...]facts{
	Driver: {"CUDA driver", []string{"libcuda.so.1"}, false,
		"install NVIDIA's driver, 550 or newer; in a container start it with the GPU (docker run --gpus all)"},
	CuBLASLt: {"cuBLASLt", []string{"libcublasLt.so.13", "libcublasLt.so.12"}, true,
		"pip install nvidia-cublas-cu12 (any Python environment that has torch has it), or install the CUDA toolkit; then name the folder of libcublasLt.so.12 in " + EnvFolders},
	NVRTC: {"NVRTC", []string{"libnvrtc.so.13", "libnvrtc.so.12"}, true,
		"optional: the PTX inside the binary works without it; pip install nvidia-cuda-nvrtc-cu12, then name the folder of libnvrtc.so.12 in " + EnvFolders},
	NCCL: {"NCCL", []string{"libnccl.so.2"}, false,
		"only for several GPUs: pip install nvidia-nccl-cu12, then name the folder of libnccl.so.2 in " + EnvFolders},
}

func (l Library) String() string { return table[l].name }

// HowToGet says how to get a library that is missing.
func (l Library) HowToGet() string { return table[l].get }

// Needed reports whether nothing works without the library.
func (l Library) Needed() bool { return l == Driver || l == CuBLASLt }

// Sonames are the file names that are accepted, newest first. driverMajor is the
// major version of CUDA that the driver knows: libraries made for a later one are
// left out; 0 leaves none out.
func (l Library) Sonames(driverMajor int) []string {
	f := table[l]
	if !f.byMajor || driverMajor == 0 {
		return f.sonames
	}
	var out []string
	for _, s := range f.sonames {
		if n, err := strconv.Atoi(s[strings.LastIndexByte(s, '.')+1:]); err == nil && n <= driverMajor {
			out = append(out, s)
		}
	}
	return out
}

// Folders are where libraries are looked for besides the system's own search:
// first those of $GROUSE_CUDA_LIBS, then the others that exist: CUDA toolkits and
// the nvidia packages of Python environments.
func Folders(getenv func(string) string) (first, then []string) {
	for _, d := range filepath.SplitList(getenv(EnvFolders)) {
		if d != "" {
			first = append(first, d)
		}
	}
	add := func(pattern string) {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return // only a malformed pattern, which a folder's name may make of it
		}
		slices.Reverse(found) // later versions first
		for _, d := range found {
			if st, err := os.Stat(d); err == nil && st.IsDir() && !slices.Contains(then, d) {
				then = append(then, d)
			}
		}
	}
	add("/usr/local/cuda/lib64")
	add("/usr/local/cuda-*/lib64")
	for _, prefix := range []string{getenv("VIRTUAL_ENV"), getenv("CONDA_PREFIX"), join(getenv("HOME"), ".local"), ".venv", "/usr/local", "/usr", "/opt/*"} {
		if prefix == "" {
			continue
		}
		for _, packages := range []string{"site-packages", "dist-packages"} {
			add(filepath.Join(prefix, "lib", "python3*", packages, "nvidia", "*", "lib"))
		}
	}
	return first, then
}

func join(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// Find returns what to try to load, in order: paths of files that exist in the
// folders, and bare sonames for the system's own search.
func (l Library) Find(getenv func(string) string, driverMajor int) []string {
	first, then := Folders(getenv)
	sonames := l.Sonames(driverMajor)
	var out []string
	in := func(dirs []string) {
		for _, s := range sonames {
			for _, d := range dirs {
				p, err := filepath.Abs(filepath.Join(d, s))
				if err != nil {
					continue
				}
				if _, err := os.Stat(p); err == nil {
					out = append(out, p)
				}
			}
		}
	}
	in(first)
	out = append(out, sonames...)
	in(then)
	return out
}

// NotFound is the error of a library that could not be loaded.
type NotFound struct {
	Library Library
	Tried   []string // "PATH: why", in order
}

func (e *NotFound) Error() string {
	if len(e.Tried) == 0 {
		return fmt.Sprintf("%v was not looked for: the driver's CUDA is older than every version of it that is known (%v)", e.Library, e.Library.Sonames(0))
	}
	return fmt.Sprintf("%v was not found (tried %s)", e.Library, strings.Join(e.Tried, "; "))
}
