package cimage

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
)

// View shows an Image as an image/draw.Image. It holds a reference to the Image, so the cleanup
// cannot free the pixels under it, and asks it for each pixel, so Close cannot either: after Close,
// At and Set panic with the words of ErrClosed. It holds no pointer to C memory. The zero View
// is the view of a closed image.
//
// A call for each pixel is slow beside With, ToImage and the operations in C.
type View struct {
	m *Image // Go memory; keeps the owner of the pixels alive
}

var _ draw.Image = View{}

// View returns a view of the image. It is not a loan: the image can be changed and closed.
func (m *Image) View() View { return View{m} }

// Bounds returns the rectangle of the pixels, also after Close.
func (v View) Bounds() image.Rectangle {
	return image.Rect(0, 0, v.m.Width(), v.m.Height())
}

// ColorModel returns the kind of colour that At returns: grey or NRGBA (alpha not multiplied in).
func (v View) ColorModel() color.Model {
	if v.m.Channels() == 1 {
		return color.GrayModel
	}
	return color.NRGBAModel
}

// At returns a copy of a pixel. Outside the bounds it is the zero colour of the model.
func (v View) At(x, y int) color.Color {
	bytes, err := v.m.lend()
	if err != nil {
		panic(err.Error())
	}
	defer v.m.giveBack()
	if v.m.chans == 1 {
		if !v.inside(x, y) {
			return color.Gray{}
		}
		return color.Gray{Y: bytes[v.offset(x, y)]}
	}
	if !v.inside(x, y) {
		return color.NRGBA{}
	}
	p := bytes[v.offset(x, y):]
	pixel := color.NRGBA{R: p[0], G: p[1], B: p[2], A: 255}
	if v.m.chans == 4 {
		pixel.A = p[3]
	}
	return pixel
}

// Set stores the nearest colour of the model; three channels drop its alpha. Outside the bounds
// it does nothing.
func (v View) Set(x, y int, c color.Color) {
	bytes, err := v.m.lend()
	if err != nil {
		panic(err.Error())
	}
	defer v.m.giveBack()
	if !v.inside(x, y) {
		return
	}
	p := bytes[v.offset(x, y):]
	if v.m.chans == 1 {
		p[0] = color.GrayModel.Convert(c).(color.Gray).Y
		return
	}
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	p[0], p[1], p[2] = n.R, n.G, n.B
	if v.m.chans == 4 {
		p[3] = n.A
	}
}

func (v View) inside(x, y int) bool {
	return image.Pt(x, y).In(v.Bounds())
}

// offset is the place of a pixel inside the bounds: it cannot overflow, since the image exists.
func (v View) offset(x, y int) int {
	return y*v.m.Stride() + x*v.m.chans
}

// ToImage returns a copy of the image in Go memory, the caller's to keep: an *image.Gray or an
// *image.NRGBA.
func (m *Image) ToImage() (draw.Image, error) {
	bytes, err := m.lend()
	if err != nil {
		return nil, err
	}
	defer m.giveBack()
	bounds := m.View().Bounds()
	if m.chans == 1 {
		grey := image.NewGray(bounds)
		copy(grey.Pix, bytes)
		return grey, nil
	}
	coloured := image.NewNRGBA(bounds)
	if m.chans == 4 {
		copy(coloured.Pix, bytes)
		return coloured, nil
	}
	for i, j := 0, 0; i < len(bytes); i, j = i+3, j+4 {
		copy(coloured.Pix[j:j+3], bytes[i:i+3])
		coloured.Pix[j+3] = 255
	}
	return coloured, nil
}

// FromImage returns the owner of a copy of src, which stays the caller's: one channel for an
// *image.Gray, four for any other. An empty image and nil are ErrSize.
func FromImage(src image.Image) (*Image, error) {
	if src == nil {
		return nil, fmt.Errorf("%w: no image", ErrSize)
	}
	channels := 4
	if _, grey := src.(*image.Gray); grey {
		channels = 1
	}
	bounds := src.Bounds()
	m, err := New(bounds.Dx(), bounds.Dy(), channels)
	if err != nil {
		return nil, err
	}
	err = m.With(func(bytes []byte) {
		// A Go image whose Pix is the lent memory; it ends with this function.
		rect := image.Rect(0, 0, m.width, m.height)
		var to draw.Image = &image.NRGBA{Pix: bytes, Stride: m.Stride(), Rect: rect}
		if channels == 1 {
			to = &image.Gray{Pix: bytes, Stride: m.Stride(), Rect: rect}
		}
		draw.Draw(to, rect, src, bounds.Min, draw.Src)
	})
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}
