package sandbox

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/grouse-rl/grouse"
)

// mountPoint is a path of the machine that a sandbox sees, read-only.
type mountPoint struct {
	path string // where it appears
	dir  bool
	link string // not a mount but a symbolic link to this
}

// mountPoints resolves paths of this machine to what must be mounted: parents
// before children, nothing twice, and symbolic links as links.
func mountPoints(paths []string) ([]mountPoint, error) {
	var out []mountPoint
	seen, linked := map[string]bool{}, map[string]bool{}
	var add func(path string, depth int) error
	add = func(path string, depth int) error {
		path = filepath.Clean(path)
		if seen[path] {
			return nil
		}
		seen[path] = true
		if depth > 40 {
			return grouse.Errorf(grouse.Invalid, "too many symbolic links at %s", path)
		}
		// A link in the middle of the path: the path behind it is shown, and the link.
		for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
			info, err := os.Lstat(dir)
			if err != nil {
				return grouse.Errorf(grouse.NotFound, "the sandbox is to show %s: %w", path, err)
			}
			if info.Mode()&os.ModeSymlink != 0 {
				target, err := filepath.EvalSymlinks(dir)
				if err != nil {
					return grouse.Errorf(grouse.NotFound, "the sandbox is to show %s: %w", path, err)
				}
				if !linked[dir] {
					linked[dir] = true
					out = append(out, mountPoint{path: dir, link: target})
				}
				return add(filepath.Join(target, path[len(dir):]), depth+1)
			}
		}
		info, err := os.Lstat(path)
		if err != nil {
			return grouse.Errorf(grouse.NotFound, "the sandbox is to show %s: %w", path, err)
		}
		if info.Mode()&os.ModeSymlink != 0 {
			target, err := filepath.EvalSymlinks(path)
			if err != nil {
				return grouse.Errorf(grouse.NotFound, "the sandbox is to show %s: %w", path, err)
			}
			if !linked[path] {
				linked[path] = true
				out = append(out, mountPoint{path: path, link: target})
			}
			return add(target, depth+1)
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return grouse.Errorf(grouse.Invalid, "the sandbox cannot show %s: it is neither a file nor a folder", path)
		}
		out = append(out, mountPoint{path: path, dir: info.IsDir()})
		return nil
	}
	for _, path := range paths {
		if err := add(path, 0); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b mountPoint) int { return len(a.path) - len(b.path) })
	var kept []mountPoint
	for _, m := range out {
		if !slices.ContainsFunc(kept, func(k mountPoint) bool { return k.link == "" && within(m.path, k.path) }) {
			kept = append(kept, m)
		}
	}
	return kept, nil
}
