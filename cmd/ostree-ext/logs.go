package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/sirupsen/logrus"
)

// redirectLogs redirects the global logger of the image library to ours at debug level. Otherwise its lines would
// disturb progress bars and look like our messages.
func redirectLogs(to *slog.Logger) {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.DebugLevel)
	logrus.StandardLogger().ReplaceHooks(logrus.LevelHooks{})
	logrus.AddHook(logHook{to})
}

type logHook struct{ to *slog.Logger }

func (logHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h logHook) Fire(e *logrus.Entry) error {
	h.to.Log(context.Background(), slog.LevelDebug, e.Message, "severity", e.Level.String())
	return nil
}
