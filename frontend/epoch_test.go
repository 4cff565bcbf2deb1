package frontend

import (
	"errors"
	"strings"
	"testing"
)

func TestTimesThatBuildKitDoesNotExplainAreRefusedBeforeIt(t *testing.T) {
	t.Parallel()
	for v, ok := range map[string]bool{
		"": true, "0": true, "1700000000": true, "253402300799": true,
		"253402300800": false, "99999999999999": false, "18446744073709551616": false, "-1": false, "+5": false, "1.5": false,
		"1e3": false, "0x5": false, " 5": false, "5 ": false, "   ": false, "٣": false,
		"stage": true, "Stage": true, // names of contexts and stages
	} {
		err := checkEpoch(map[string]string{"build-arg:SOURCE_DATE_EPOCH": v})
		if ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
			t.Errorf("%q: got %v", v, err)
		}
	}
	named := map[string]string{"build-arg:SOURCE_DATE_EPOCH": "5th", "context:5th": "https://os.example/"}
	if err := checkEpoch(named); err != nil {
		t.Errorf("a context whose name begins with a digit: %v", err)
	}
}

func TestATimeOutOfRangeInAContainerfileIsNamed(t *testing.T) {
	t.Parallel()
	err := explainEpoch(errors.New("failed to marshal image config: json: Time.MarshalJSON: year outside of range " +
		"[0,9999]"))
	if err == nil || !strings.HasPrefix(err.Error(), "SOURCE_DATE_EPOCH is not") {
		t.Errorf("got %v", err)
	}
	other := errors.New("another error")
	if got := explainEpoch(other); !errors.Is(got, other) || explainEpoch(nil) != nil {
		t.Errorf("got %v", got)
	}
}
