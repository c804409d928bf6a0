"""Scans find images, end, and keep an order."""

from retrieval_bench.data.scanning import image_files


def test_images_of_any_case_are_found_in_order(tmp_path, save_image):
    for name in ("b/z.jpg", "a/x.JPG", "a/b c/é建物.PNG", "-dash.jpeg", "two.dots.name.webp", "co,mma.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for name in ("notes.txt", ".hidden.jpg", "a/._x.jpg", "jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "c.jpg").write_bytes(b"x")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "inside.jpg").write_bytes(b"x")
    found = [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)]
    assert found == [
        "-dash.jpeg",
        "a/b c/é建物.PNG",
        "a/x.JPG",
        "b/z.jpg",
        "co,mma.tif",
        "folder.jpg/inside.jpg",
        "two.dots.name.webp",
    ]


def test_loops_end_and_linked_folders_count(tmp_path):
    real = tmp_path / "elsewhere"
    real.mkdir()
    (real / "a.jpg").write_bytes(b"x")
    root = tmp_path / "root"
    (root / "label").mkdir(parents=True)
    (root / "label" / "b.jpg").write_bytes(b"x")
    (root / "label" / "up").symlink_to(root)
    (root / "linked").symlink_to(real)
    (root / "x.jpg").symlink_to(root / "y.jpg")
    (root / "y.jpg").symlink_to(root / "x.jpg")
    found = [path.relative_to(root).as_posix() for path in image_files(root)]
    assert found == ["label/b.jpg", "linked/a.jpg", "x.jpg", "y.jpg"]
