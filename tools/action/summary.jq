# The summary of a build in Markdown. The input is the JSON of `container build`; $diff[0] that of `chunks diff`, or null.
# Everything that comes from images is shown as text.
def text:
  gsub("&"; "&amp;") | gsub("<"; "&lt;") | gsub(">"; "&gt;") | gsub("(?<c>[\\\\`|*_~\\[\\]#@:])"; "\\\(.c)") |
  gsub("[[:cntrl:]]"; " ");
def tenths: (. * 10 | round) | "\(. / 10 | floor).\(. % 10)";
def size:
  if . == 1 then "1 byte" elif . < 1000 then "\(.) bytes"
  elif . < 1000000 then "\(. / 1000 | tenths) kB" elif . < 1000000000 then "\(. / 1000000 | tenths) MB"
  else "\(. / 1000000000 | tenths) GB" end;
def few($n): if length > $n then .[:$n] + ["\(length - $n) others"] else . end | join(", ");
def layers: if . == 1 then "1 layer" else "\(.) layers" end;

$diff[0] as $d |
(["## " + (env.IMAGE | ltrimstr("docker://") | text), "",
  "`\(.digest)`: \(.layers | layers), \(.reused) of them kept" +
  (if .prior then " from " + (.prior | text) else "" end) + "."] +
 if $d == null then
   ["", if env.PREVIOUS == "" then "There was no image before: hosts download all layers." else
    "What hosts download is not known." end]
 else
   ["", "**A host downloads \($d.download | size)** in \($d.layers | length | layers), and keeps \($d.shared | size)."] +
   if ($d.layers | length) == 0 then [] else
     ["", "| download | because of |", "|---:|---|"] +
     ([$d.layers | sort_by(-.bytes) | limit(50; .[]) |
       "| \(.bytes | size) | " + (
         if .first then "the commit and the directories" elif (.because | length) > 0 then .because | map(text) | few(10)
         elif (.components | length) > 0 then "other layers: " + (.components | map(text) | few(5)) else "unknown" end) + " |"]) +
     (if ($d.layers | length) > 50 then ["", "… and \(($d.layers | length) - 50) more layers."] else [] end)
   end +
   (($d.packages // []) as $p | if ($p | length) == 0 then [] else
     ["", "| package | old | new |", "|---|---|---|"] +
     ([$p | limit(300; .[]) | "| \(.name | text) | \(.from // "" | text) | \(.to // "" | text) |"]) +
     (if ($p | length) > 300 then ["", "… and \(($p | length) - 300) more packages."] else [] end)
   end)
 end + [""]) | .[]
