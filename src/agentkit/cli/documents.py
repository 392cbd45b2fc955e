"""`agentkit ingest` and `agentkit documents`: what the agents can look up."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.table import Column, Table

from agentkit.cli.session import FAILED, Json, Session, err, out, print_json
from agentkit.errors import AgentKitError, UnknownNameError

if TYPE_CHECKING:
    from agentkit.rag.ingest import IngestReport
    from agentkit.rag.records import StoredDocument

app = typer.Typer(no_args_is_help=True, help="List, search and delete ingested documents.")

Scope = Annotated[str | None, typer.Option(help="Only this knowledge scope.")]


def ingest(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders.")] = None,
    *,
    scope: Annotated[str | None, typer.Option(help="Knowledge scope they belong to.")] = None,
    blueprint: Annotated[
        str | None, typer.Option(help="Bring this blueprint's own sources up to date.")
    ] = None,
    sync: Annotated[bool, typer.Option(help="Remove documents whose file is gone from the folders.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Read files into a knowledge scope; only what changed is read again."""
    if (blueprint is None) == (not paths):
        raise typer.BadParameter("give either PATHs with --scope, or --blueprint.")
    if paths and not scope:
        raise typer.BadParameter("--scope says which knowledge scope the files belong to.")
    missing = [str(path) for path in paths or () if not path.exists()]
    if missing:
        raise typer.BadParameter(f"no such file or folder: {', '.join(missing)}")
    with Session() as session:
        if blueprint is not None:
            reports = session.run(session.kit.refresh(session.kit.blueprint(blueprint)))
        else:
            reports = [session.run(session.kit.ingest(paths or [], scope=scope or "", sync=sync))]
        session.display.stop()
    if as_json:
        print_json([_outcome(file) for report in reports for file in report.files])
    else:
        _print_reports(reports)
    if any(report.errors for report in reports):
        raise typer.Exit(FAILED)


def _outcome(file: Any) -> dict[str, Any]:
    error = str(file.error) if file.error else None
    return {
        "source": file.source,
        "outcome": file.outcome,
        "chunks": file.chunks,
        "embedded": file.embedded,
        "error": error,
        "note": file.note,
    }


def _print_reports(reports: "list[IngestReport]") -> None:
    totals: dict[str, int] = {}
    for report in reports:
        for file in report.files:
            totals[file.outcome] = totals.get(file.outcome, 0) + 1
            if file.error is not None:
                err.print(f"failed    {file.error}", style="red", markup=False)
            elif file.outcome != "unchanged":
                out.print(f"{file.outcome:9} {file.source}  {file.chunks} chunks", markup=False)
            if file.note:
                out.print(f"          {file.note}", style="dim", markup=False)
    summary = (
        ", ".join(f"{count} {outcome}" for outcome, count in sorted(totals.items())) or "nothing to read"
    )
    skipped = sum(len(report.skipped) for report in reports)
    if skipped:
        summary += f", {skipped} skipped (not text)"
    embedded = sum(report.embedded for report in reports)
    out.print(f"{summary}; {embedded} chunks embedded.", markup=False)


@app.command("list")
def list_(*, scope: Scope = None, as_json: Annotated[bool, Json] = False) -> None:
    """List documents by scope and name."""
    with Session() as session:
        found = session.run(_list(session, scope))
    if as_json:
        print_json([_document(document) for document in found])
        return
    table = Table(
        Column("id", no_wrap=True), "scope", "document", "chunks", "updated", box=None, header_style="bold"
    )
    for document in found:
        updated = f"{document.updated_at:%Y-%m-%d %H:%M}"
        table.add_row(str(document.id), document.scope, document.source_uri, str(document.chunks), updated)
    out.print(table if found else "No documents. `agentkit ingest PATH --scope SCOPE` adds some.")


@app.command()
def show(document_id: UUID, *, as_json: Annotated[bool, Json] = False) -> None:
    """Show one document."""
    with Session() as session:
        document = session.run(_get(session, document_id))
    if as_json:
        print_json(_document(document))
        return
    for key, value in _document(document).items():
        out.print(f"{key:10} {value}", markup=False)


@app.command()
def delete(document_ids: list[UUID]) -> None:
    """Delete documents and their chunks."""
    with Session() as session:
        count = session.run(_delete(session, document_ids))
    out.print(f"{count} of {len(document_ids)} deleted.")
    if count < len(document_ids):
        err.print("The others do not exist; `agentkit documents list` shows the ids.")
        raise typer.Exit(FAILED)


@app.command()
def search(
    query: str,
    *,
    scope: Annotated[list[str] | None, typer.Option(help="Scope to search; repeat for several.")] = None,
    k: Annotated[int, typer.Option(min=1, max=100, help="Most chunks.")] = 6,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Search as an agent's retriever does."""
    with Session() as session:
        chunks = session.run(_search(session, query, scope, k))
    if as_json:
        keys = ("source_uri", "start_line", "end_line", "page", "scope", "score", "similarity", "text")
        print_json([{key: getattr(chunk, key) for key in keys} for chunk in chunks])
        return
    for chunk in chunks:
        similarity = "" if chunk.similarity is None else f"  similarity {chunk.similarity:.2f}"
        place = f"{chunk.source_uri}:{chunk.start_line}-{chunk.end_line}"
        out.print(f"{place}  ({chunk.scope}){similarity}", style="bold", markup=False)
        out.print(chunk.text.strip() + "\n", markup=False)
    if not chunks:
        out.print("Nothing found.")


async def _list(session: Session, scope: str | None) -> "list[StoredDocument]":
    store = await session.kit.store()
    if scope is not None:
        known = await store.scopes()
        if scope not in known:
            raise UnknownNameError("scope", scope, known)
    return await store.list_documents(scopes=None if scope is None else [scope])


async def _get(session: Session, document_id: UUID) -> "StoredDocument":
    store = await session.kit.store()
    document = await store.get_document(document_id)
    if document is None:
        raise AgentKitError(
            f"There is no document {document_id}.", hint="`agentkit documents list` shows the ids."
        )
    return document


async def _delete(session: Session, document_ids: list[UUID]) -> int:
    store = await session.kit.store()
    return await store.delete_documents(document_ids)


async def _search(session: Session, query: str, scopes: list[str] | None, k: int) -> Any:
    store = await session.kit.store()
    known = await store.scopes()
    for scope in scopes or ():
        if scope not in known:
            raise UnknownNameError("scope", scope, known)
    return await store.search_chunks(query, k=k, scopes=scopes)


def _document(document: "StoredDocument") -> dict[str, Any]:
    keys = (
        "id",
        "scope",
        "source_uri",
        "title",
        "mime",
        "sha256",
        "chunks",
        "model",
        "chunker",
        "updated_at",
    )
    return {key: getattr(document, key) for key in keys}
