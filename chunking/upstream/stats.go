package upstream

import (
	"math"
	"slices"
)

// median returns the median of values, which need not be sorted. For an even number of values it is the mean of the
// middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	}
	return 0.5 * (sorted[n/2-1] + sorted[n/2])
}

// medianAbsoluteDeviation returns the median and the median of the distances from it.
func medianAbsoluteDeviation(values []float64) (med, mad float64) {
	med = median(values)
	distances := make([]float64, len(values))
	for i, v := range values {
		distances[i] = math.Abs(v - med)
	}
	return med, median(distances)
}

// meanAndDeviation returns the mean and the standard deviation of the population.
func meanAndDeviation(values []float64) (mean, sigma float64) {
	if len(values) == 0 {
		return 0, 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	mean = sum / float64(len(values))
	squares := 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(squares / float64(len(values)))
}
