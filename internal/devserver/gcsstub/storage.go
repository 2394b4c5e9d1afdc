// Package storage stands in for Google Cloud Storage's client, which Temporal's
// server links for archiving histories to a bucket. An embedded server archives
// nowhere: NewClient says so, and nothing else can then be reached.
package storage

import (
	"context"
	"errors"
	"time"

	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
)

// ErrNotLinked is what every operation returns.
var ErrNotLinked = errors.New("this server is built without Google Cloud Storage: archive to files or S3, or use a stock Temporal server")

// ErrBucketNotExist and ErrObjectNotExist are never returned.
var (
	ErrBucketNotExist = errors.New("bucket does not exist")
	ErrObjectNotExist = errors.New("object does not exist")
)

// ScopeFullControl is an OAuth scope.
const ScopeFullControl = "https://www.googleapis.com/auth/devstorage.full_control"

type (
	// Client is never made.
	Client struct{}
	// BucketHandle is a bucket.
	BucketHandle struct{}
	// ObjectHandle is an object of a bucket.
	ObjectHandle struct{}
	// ObjectIterator lists objects.
	ObjectIterator struct{}
	// Writer writes an object.
	Writer struct{}
	// Reader reads an object.
	Reader struct{}
	// BucketAttrs describes a bucket.
	BucketAttrs struct{ Name string }
	// ObjectAttrs describes an object.
	ObjectAttrs struct {
		Name    string
		Created time.Time
	}
	// Query filters a listing.
	Query struct{ Prefix string }
)

// NewClient returns ErrNotLinked.
func NewClient(context.Context, ...option.ClientOption) (*Client, error) { return nil, ErrNotLinked }

func (*Client) Bucket(string) *BucketHandle                           { return &BucketHandle{} }
func (*BucketHandle) Object(string) *ObjectHandle                     { return &ObjectHandle{} }
func (*BucketHandle) Objects(context.Context, *Query) *ObjectIterator { return &ObjectIterator{} }
func (*BucketHandle) Attrs(context.Context) (*BucketAttrs, error)     { return nil, ErrNotLinked }
func (*ObjectHandle) NewWriter(context.Context) *Writer               { return &Writer{} }
func (*ObjectHandle) NewReader(context.Context) (*Reader, error)      { return nil, ErrNotLinked }
func (*ObjectHandle) Attrs(context.Context) (*ObjectAttrs, error)     { return nil, ErrNotLinked }
func (*ObjectIterator) Next() (*ObjectAttrs, error)                   { return nil, iterator.Done }
func (*Writer) Write([]byte) (int, error)                             { return 0, ErrNotLinked }
func (*Writer) Close() error                                          { return ErrNotLinked }
func (*Writer) CloseWithError(error) error                            { return nil }
func (*Reader) Read([]byte) (int, error)                              { return 0, ErrNotLinked }
func (*Reader) Close() error                                          { return nil }
