package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/wattshed/wattshed/measure/carbon"
)

// envIntensityURL replaces the address of live services, for a proxy.
const envIntensityURL = "WATTSHED_INTENSITY_URL"

// liveClient is a client that keeps answers in the user's cache.
func liveClient() carbon.Client {
	client := carbon.Client{Base: os.Getenv(envIntensityURL)}
	if dir, err := os.UserCacheDir(); err == nil {
		client.Dir = filepath.Join(dir, "wattshed", "intensity")
	}
	return client
}

// liveIntensity asks a service for the intensity of a zone now. A key that is not set is an error like any other reason for which there
// is no answer: a run says it and takes the yearly table.
func liveIntensity(ctx context.Context, service, zone string) (carbon.Series, error) {
	client := liveClient()
	if name := map[string]string{"electricitymaps": envElectricityMaps, "eia": envEIA, "entsoe": envENTSOE}[service]; name != "" {
		if client.Key = os.Getenv(name); client.Key == "" {
			return carbon.Series{}, errors.New(service + " needs a key: set " + name)
		}
	}
	return client.Latest(ctx, service, zone)
}
