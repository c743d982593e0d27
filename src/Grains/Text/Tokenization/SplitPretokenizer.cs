using System.Text.RegularExpressions;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>What happens to the characters that a split pattern matches.</summary>
internal enum SplitBehavior
{
    /// <summary>They are dropped.</summary>
    Removed,

    /// <summary>Each match is a piece of its own.</summary>
    Isolated,

    /// <summary>A match ends the piece before it.</summary>
    MergedWithPrevious,

    /// <summary>A match begins the piece after it.</summary>
    MergedWithNext,

    /// <summary>Adjacent matches are one piece.</summary>
    Contiguous,
}

/// <summary>Cuts every piece of a text with a regular expression.</summary>
internal sealed class SplitPretokenizer(Regex pattern, SplitBehavior behavior, bool invert) : IPretokenizer
{
    public void Apply(PretokenizedText text)
    {
        var pieces = new List<TextPiece>(text.Pieces.Count + 16);
        var builder = new PieceBuilder(pieces, behavior);
        foreach (TextPiece piece in text.Pieces)
        {
            builder.Begin();
            int done = piece.Start;
            foreach (ValueMatch match in pattern.EnumerateMatches(text.Shadow(piece)))
            {
                if (match.Length == 0)
                    continue;
                int start = piece.Start + match.Index;
                builder.Add(done, start, isMatch: invert);
                builder.Add(start, start + match.Length, isMatch: !invert);
                done = start + match.Length;
            }

            builder.Add(done, piece.End, isMatch: invert);
            builder.Finish();
        }

        text.Replace(pieces);
    }

    private struct PieceBuilder(List<TextPiece> pieces, SplitBehavior behavior)
    {
        private int _firstOfPiece;
        private bool _hasPrevious;
        private bool _previousIsMatch;
        private int _heldMatchStart;

        public void Begin()
        {
            _firstOfPiece = pieces.Count;
            _hasPrevious = false;
            _previousIsMatch = false;
            _heldMatchStart = -1;
        }

        public void Add(int start, int end, bool isMatch)
        {
            if (end <= start)
                return;
            switch (behavior)
            {
                case SplitBehavior.Removed when isMatch:
                    break;
                case SplitBehavior.MergedWithPrevious when isMatch && !_previousIsMatch && pieces.Count > _firstOfPiece:
                case SplitBehavior.Contiguous when _hasPrevious && isMatch == _previousIsMatch:
                    pieces[^1] = new TextPiece(pieces[^1].Start, end - pieces[^1].Start);
                    break;
                case SplitBehavior.MergedWithNext:
                    AddMergedWithNext(start, end, isMatch);
                    break;
                default:
                    pieces.Add(new TextPiece(start, end - start));
                    break;
            }

            _hasPrevious = true;
            _previousIsMatch = isMatch;
        }

        public void Finish()
        {
            if (_heldMatchStart >= 0)
                pieces.Add(new TextPiece(_heldMatchStart, _heldMatchEnd - _heldMatchStart));
        }

        private int _heldMatchEnd;

        // Only the last of several adjacent matches joins the text after it.
        private void AddMergedWithNext(int start, int end, bool isMatch)
        {
            if (isMatch)
            {
                Finish();
                (_heldMatchStart, _heldMatchEnd) = (start, end);
                return;
            }

            int pieceStart = _heldMatchStart >= 0 ? _heldMatchStart : start;
            _heldMatchStart = -1;
            pieces.Add(new TextPiece(pieceStart, end - pieceStart));
        }
    }
}
